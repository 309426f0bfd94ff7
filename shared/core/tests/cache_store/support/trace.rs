//! Seeded sequences of keys.
#![expect(clippy::cast_precision_loss, reason = "ranks and draws are far below 2^52")]

/// Splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Ranks from 0, the n-th with a probability of 1/n^s.
#[derive(Debug)]
pub(crate) struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(keys: u64, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=keys).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self { sums: sums.collect() }
    }

    pub(crate) fn draw(&self, draw: &mut Draw) -> u64 {
        let at = draw.unit() * self.sums.last().unwrap();
        self.sums.partition_point(|sum| *sum < at) as u64
    }
}

/// Of one Zipf distribution.
pub(crate) fn zipf(keys: u64, exponent: f64, length: usize) -> Vec<u64> {
    let (zipf, mut draw) = (Zipf::new(keys, exponent), Draw(1));
    (0..length).map(|_| zipf.draw(&mut draw)).collect()
}

/// Zipf, and after every `pause` of these a scan of `scan` keys that are never asked for again.
pub(crate) fn scans(keys: u64, pause: usize, scan: u64, length: usize) -> Vec<u64> {
    let (zipf, mut draw) = (Zipf::new(keys, 1.0), Draw(2));
    let mut trace = Vec::new();
    let mut fresh = 1 << 40;
    while trace.len() < length {
        trace.extend((0..pause).map(|_| zipf.draw(&mut draw)));
        trace.extend(fresh..fresh + scan);
        fresh += scan;
    }
    trace.truncate(length);
    trace
}

/// The same keys again and again.
pub(crate) fn rounds(keys: u64, length: usize) -> Vec<u64> {
    (0..keys).cycle().take(length).collect()
}

/// Zipf whose ranks belong to other keys after every `every` requests.
pub(crate) fn shifting(keys: u64, every: usize, length: usize) -> Vec<u64> {
    let (zipf, mut draw) = (Zipf::new(keys, 1.0), Draw(3));
    let key = |at: usize| ((at / every) as u64) << 40 | zipf.draw(&mut draw);
    (0..length).map(key).collect()
}
