//! Entries in numbered slots, chained into segments from the most to the least recently used.

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// A slot's number as a place in memory.
pub(super) fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Where an entry is in its policy. LRU has all of them in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// New, and not compared with others yet.
    Window,
    /// Used once since it came out of the window, or long ago: the first to go.
    Probation,
    /// Used again since.
    Protected,
}

impl Segment {
    pub(super) const ALL: [Self; 3] = [Self::Window, Self::Probation, Self::Protected];
}

#[derive(Debug)]
pub(super) struct Entry<K, V> {
    pub(super) key: K,
    pub(super) value: V,
}

#[derive(Debug)]
pub(super) struct Slot<K, V> {
    /// `None`: free.
    pub(super) entry: Option<Entry<K, V>>,
    pub(super) hash: u64,
    pub(super) weight: u64,
}

/// A slot's place in its list. Apart from the slot, as a use of an entry changes its neighbours'
/// places too, and four of these are in one cache line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// The neighbour that was used more recently.
    pub(super) prev: u32,
    /// The neighbour that was used less recently; of a free slot, the next free one.
    pub(super) next: u32,
    /// The round of proposals in which the owner declined the entry.
    pub(super) declined: u32,
    pub(super) segment: Segment,
}

const NO_LINK: Link = Link { prev: NONE, next: NONE, declined: 0, segment: Segment::Window };

#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    /// The most recently used.
    pub(super) head: u32,
    /// The least recently used.
    pub(super) tail: u32,
    pub(super) len: u64,
    pub(super) bytes: u64,
}

const NO_LIST: List = List { head: NONE, tail: NONE, len: 0, bytes: 0 };

/// All slots and the lists through them.
#[derive(Debug)]
pub(super) struct Slab<K, V> {
    slots: Vec<Slot<K, V>>,
    /// As many as slots.
    links: Vec<Link>,
    free: u32,
    window: List,
    probation: List,
    protected: List,
}

impl<K, V> Slab<K, V> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            links: Vec::new(),
            free: NONE,
            window: NO_LIST,
            probation: NO_LIST,
            protected: NO_LIST,
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&Slot<K, V>> {
        self.slots.get(wide(number))
    }

    pub(super) fn entry(&self, number: u32) -> Option<&Entry<K, V>> {
        self.get(number)?.entry.as_ref()
    }

    pub(super) fn entry_mut(&mut self, number: u32) -> Option<&mut Entry<K, V>> {
        self.slots.get_mut(wide(number))?.entry.as_mut()
    }

    pub(super) fn link(&self, number: u32) -> Option<&Link> {
        self.links.get(wide(number))
    }

    pub(super) fn link_mut(&mut self, number: u32) -> Option<&mut Link> {
        self.links.get_mut(wide(number))
    }

    /// All slots, free ones too, by number.
    pub(super) fn slots(&self) -> &[Slot<K, V>] {
        &self.slots
    }

    pub(super) const fn list(&self, segment: Segment) -> &List {
        match segment {
            Segment::Window => &self.window,
            Segment::Probation => &self.probation,
            Segment::Protected => &self.protected,
        }
    }

    const fn list_mut(&mut self, segment: Segment) -> &mut List {
        match segment {
            Segment::Window => &mut self.window,
            Segment::Probation => &mut self.probation,
            Segment::Protected => &mut self.protected,
        }
    }

    pub(super) const fn len(&self) -> u64 {
        self.window.len + self.probation.len + self.protected.len
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.window.bytes + self.probation.bytes + self.protected.bytes
    }

    /// Puts an entry at the head of the window; `None`: there are no more numbers.
    pub(super) fn insert(&mut self, entry: Entry<K, V>, hash: u64, weight: u64) -> Option<u32> {
        let slot = Slot { entry: Some(entry), hash, weight };
        let free = self.free;
        let number = if let (Some(place), Some(link)) =
            (self.slots.get_mut(wide(free)), self.links.get_mut(wide(free)))
        {
            *place = slot;
            self.free = std::mem::replace(link, NO_LINK).next;
            free
        } else {
            let number = u32::try_from(self.slots.len()).ok().filter(|number| *number != NONE)?;
            self.slots.push(slot);
            self.links.push(NO_LINK);
            number
        };
        self.push(number, Segment::Window);
        self.grow(Segment::Window, weight);
        Some(number)
    }

    /// Takes an entry out; its slot is free.
    pub(super) fn remove(&mut self, number: u32) -> Option<Entry<K, V>> {
        let slot = self.slots.get_mut(wide(number))?;
        let (entry, weight) = (slot.entry.take()?, slot.weight);
        let segment = self.unlink(number)?;
        self.shrink(segment, weight);
        let free = std::mem::replace(&mut self.free, number);
        self.link_mut(number)?.next = free;
        Some(entry)
    }

    /// Makes an entry the most recently used of a segment.
    pub(super) fn move_to_head(&mut self, number: u32, segment: Segment) {
        if self.list(segment).head == number {
            return;
        }
        let Some(old) = self.unlink(number) else { return };
        self.push(number, segment);
        if old != segment {
            let weight = self.get(number).map_or(0, |slot| slot.weight);
            self.shrink(old, weight);
            self.grow(segment, weight);
        }
    }

    pub(super) fn set_weight(&mut self, number: u32, weight: u64) {
        let Some(segment) = self.link(number).map(|link| link.segment) else { return };
        let Some(slot) = self.slots.get_mut(wide(number)) else { return };
        let old = std::mem::replace(&mut slot.weight, weight);
        let list = self.list_mut(segment);
        list.bytes = list.bytes - old + weight;
    }

    const fn grow(&mut self, segment: Segment, weight: u64) {
        let list = self.list_mut(segment);
        list.len += 1;
        list.bytes += weight;
    }

    const fn shrink(&mut self, segment: Segment, weight: u64) {
        let list = self.list_mut(segment);
        list.len -= 1;
        list.bytes -= weight;
    }

    fn push(&mut self, number: u32, segment: Segment) {
        let head = self.list(segment).head;
        let Some(link) = self.link_mut(number) else { return };
        link.prev = NONE;
        link.next = head;
        link.segment = segment;
        if let Some(second) = self.link_mut(head) {
            second.prev = number;
        }
        let list = self.list_mut(segment);
        list.head = number;
        if list.tail == NONE {
            list.tail = number;
        }
    }

    /// Takes a slot out of its list, whose sums are left to the caller; gives its segment.
    fn unlink(&mut self, number: u32) -> Option<Segment> {
        let Link { prev, next, segment, .. } = *self.link(number)?;
        match self.link_mut(prev) {
            Some(link) => link.next = next,
            None => self.list_mut(segment).head = next,
        }
        match self.link_mut(next) {
            Some(link) => link.prev = prev,
            None => self.list_mut(segment).tail = prev,
        }
        Some(segment)
    }
}
