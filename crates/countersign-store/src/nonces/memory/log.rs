use std::mem::size_of;

/// The number of entries of the first chunk. A later chunk has as many entries as all chunks before it together, up to
/// [`MOST`].
const FEWEST: usize = 4;
/// The most entries of a chunk: 2 KiB.
const MOST: usize = 128;
/// The bytes of a chunk beside its entries: its place in the list, and the allocator's bookkeeping.
const OVERHEAD: usize = size_of::<Vec<u128>>() + 16;

/// Numbers of 16 bytes in order of arrival, in chunks that never move.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// No chunk is empty, and all but the last are full.
    chunks: Vec<Vec<u128>>,
}

impl Log {
    pub(super) fn len(&self) -> usize {
        let Some((last, full)) = self.chunks.split_last() else { return 0 };
        first_of(full.len()).saturating_add(last.len())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u128> {
        self.chunks.iter().flatten().copied()
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<u128> {
        let (chunk, offset) = place(at);
        self.chunks.get(chunk)?.get(offset).copied()
    }

    pub(super) fn has_room(&self) -> bool {
        self.chunks.last().is_some_and(|chunk| chunk.len() < chunk.capacity())
    }

    /// Returns the bytes of the next chunk.
    pub(super) fn next_chunk(&self) -> usize {
        self.next_capacity().saturating_mul(size_of::<u128>()).saturating_add(OVERHEAD)
    }

    /// Adds a chunk, unless the last one has room.
    pub(super) fn add_chunk(&mut self) {
        if self.chunks.last().is_none_or(|last| last.len() == last.capacity()) {
            if self.chunks.is_empty() {
                // Most sets of a small service have only one chunk.
                self.chunks.reserve_exact(1);
            }
            self.chunks.push(Vec::with_capacity(self.next_capacity()));
        }
    }

    /// Appends a number, and returns its position. `None` without room.
    #[inline]
    pub(super) fn push(&mut self, number: u128) -> Option<usize> {
        let full = self.chunks.len().checked_sub(1)?;
        let last = self.chunks.last_mut().filter(|last| last.len() < last.capacity())?;
        let at = first_of(full).saturating_add(last.len());
        last.push(number);
        Some(at)
    }

    fn next_capacity(&self) -> usize {
        first_of(self.chunks.len()).clamp(FEWEST, MOST)
    }
}

/// Returns the position of a chunk's first entry: 0, 4, 8, 16, 32, 64, 128, 256, 384, …
#[inline]
fn first_of(chunk: usize) -> usize {
    match chunk {
        1..=5 => FEWEST << chunk.saturating_sub(1),
        _ => MOST.saturating_mul(chunk.saturating_sub(5)),
    }
}

/// Returns the chunk and the offset of a position.
#[inline]
fn place(at: usize) -> (usize, usize) {
    let chunk = match at {
        0..FEWEST => 0,
        FEWEST..MOST => at.ilog2().saturating_sub(FEWEST.ilog2()).saturating_add(1) as usize,
        _ => (at / MOST).saturating_add(5),
    };
    (chunk, at.saturating_sub(first_of(chunk)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_costs_its_numbers_its_place_in_the_list_and_what_the_allocator_keeps() {
        assert_eq!(Log::default().next_chunk(), 4 * 16 + size_of::<Vec<u128>>() + 16);
    }

    #[test]
    fn every_number_stays_where_it_was_put() {
        let mut log = Log::default();
        for number in 0..5000 {
            assert_eq!(log.len(), number);
            if !log.has_room() {
                assert_eq!(log.push(7), None);
                let bytes = log.next_chunk();
                log.add_chunk();
                let chunk = log.chunks.last().unwrap();
                assert_eq!(bytes, chunk.capacity() * 16 + OVERHEAD);
                assert!(number <= 16 || chunk.capacity() <= number);
            }
            assert_eq!(log.push(number as u128), Some(number));
        }
        assert!((0..5000).all(|number| log.get(number) == Some(number as u128)));
        assert!(log.iter().eq(0..5000));
        assert_eq!(log.get(5000), None);
    }
}
