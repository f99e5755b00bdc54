package images

import "sync/atomic"

// budget is what is left of an image's limits; its layers draw on it at the same
// time.
type budget struct {
	entries atomic.Int64 // seen
	bytes   atomic.Int64 // unpacked
	named   atomic.Int64 // by files as their size
}

func (b *budget) unpacked(bytes int64) { b.bytes.Add(bytes) }

func (b *budget) check() error {
	if b.bytes.Load() > maxContent {
		return malformed("its layers unpack to more than %d bytes", int64(maxContent))
	}
	return nil
}

// enter counts an entry. Files are counted by the size that they claim, too: that
// of a sparse one is not bounded by the archive's.
func (b *budget) enter(e *entry) error {
	if b.entries.Add(1) > maxEntries {
		return malformed("more than %d entries", maxEntries)
	}
	if e.size < 0 || e.size > maxContent || b.named.Add(e.size) > maxContent {
		return malformed("its files have more than %d bytes", int64(maxContent))
	}
	return nil
}
