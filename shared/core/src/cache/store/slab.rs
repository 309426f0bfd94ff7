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
    /// `None`: free, and `next` is the next free one.
    pub(super) entry: Option<Entry<K, V>>,
    pub(super) hash: u64,
    pub(super) weight: u64,
    /// The neighbour that was used more recently.
    pub(super) prev: u32,
    /// The neighbour that was used less recently.
    pub(super) next: u32,
    /// The round of proposals in which the owner declined it.
    pub(super) declined: u32,
    pub(super) segment: Segment,
}

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
    free: u32,
    window: List,
    probation: List,
    protected: List,
}

impl<K, V> Slab<K, V> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            window: NO_LIST,
            probation: NO_LIST,
            protected: NO_LIST,
        }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Slot<K, V>> {
        self.slots.get(wide(slot))
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Slot<K, V>> {
        self.slots.get_mut(wide(slot))
    }

    pub(super) fn entry(&self, slot: u32) -> Option<&Entry<K, V>> {
        self.get(slot)?.entry.as_ref()
    }

    pub(super) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<K, V>> {
        self.get_mut(slot)?.entry.as_mut()
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
        let number = self.free;
        let next_free = self.get(number).map(|slot| slot.next);
        let slot = Slot {
            entry: Some(entry),
            hash,
            weight,
            prev: NONE,
            next: NONE,
            declined: 0,
            segment: Segment::Window,
        };
        let number = if let (Some(next), Some(place)) = (next_free, self.get_mut(number)) {
            *place = slot;
            self.free = next;
            number
        } else {
            let number = u32::try_from(self.slots.len()).ok().filter(|number| *number != NONE)?;
            self.slots.push(slot);
            number
        };
        self.push(number, Segment::Window);
        Some(number)
    }

    /// Takes an entry out; its slot is free.
    pub(super) fn remove(&mut self, number: u32) -> Option<Entry<K, V>> {
        self.entry(number)?;
        self.unlink(number);
        let free = self.free;
        let slot = self.get_mut(number)?;
        slot.next = free;
        let entry = slot.entry.take();
        self.free = number;
        entry
    }

    /// Makes an entry the most recently used of a segment.
    pub(super) fn move_to_head(&mut self, number: u32, segment: Segment) {
        if self.list(segment).head != number {
            self.unlink(number);
            self.push(number, segment);
        }
    }

    pub(super) fn set_weight(&mut self, number: u32, weight: u64) {
        let Some(slot) = self.get_mut(number) else { return };
        let old = std::mem::replace(&mut slot.weight, weight);
        let segment = slot.segment;
        let list = self.list_mut(segment);
        list.bytes = list.bytes - old + weight;
    }

    fn push(&mut self, number: u32, segment: Segment) {
        let head = self.list(segment).head;
        let Some(slot) = self.get_mut(number) else { return };
        slot.prev = NONE;
        slot.next = head;
        slot.segment = segment;
        let weight = slot.weight;
        if let Some(second) = self.get_mut(head) {
            second.prev = number;
        }
        let list = self.list_mut(segment);
        list.head = number;
        if list.tail == NONE {
            list.tail = number;
        }
        list.len += 1;
        list.bytes += weight;
    }

    fn unlink(&mut self, number: u32) {
        let Some(slot) = self.get(number) else { return };
        let (prev, next, weight, segment) = (slot.prev, slot.next, slot.weight, slot.segment);
        match self.get_mut(prev) {
            Some(slot) => slot.next = next,
            None => self.list_mut(segment).head = next,
        }
        match self.get_mut(next) {
            Some(slot) => slot.prev = prev,
            None => self.list_mut(segment).tail = prev,
        }
        let list = self.list_mut(segment);
        list.len -= 1;
        list.bytes -= weight;
    }
}
