package cas

import "sync/atomic"

// counters count since the store was opened.
type counters struct {
	written    atomic.Int64 // bytes stored, of entries
	carried    atomic.Int64 // bytes that the cleaner copied
	evicted    atomic.Int64 // blobs
	dropped    atomic.Int64 // generations
	refused    atomic.Int64 // writes, for want of space
	damaged    atomic.Int64 // blobs in quarantine
	scrubbed   atomic.Int64 // bytes
	scrubs     atomic.Int64 // whole rounds
	reindexed  atomic.Int64 // indexes that were made again
	abandoned  atomic.Int64 // partial uploads that were given up
	lastSurvey atomic.Int64 // protected bytes, when last looked at
}

// Stats is the state of a Store. Sizes are in bytes; what counts events counts
// since the store was opened.
type Stats struct {
	Blobs        int64 // records in the indexes: a blob that is stored twice for a while counts twice
	LogicalBytes int64 // the sizes of these blobs
	DiskBytes    int64 // what the store takes on the disk
	MaxBytes     int64 // its cap
	// ProtectedBytes is what lay within the protection window in sealed generations
	// when the cleaner last looked; 0 before it had to.
	ProtectedBytes int64

	Generations     int // the ring's
	OpenGenerations int // those of them that are not sealed
	PartialUploads  int // of blobs, running or to be resumed

	WrittenBytes       int64 // by clients and actions
	CarriedBytes       int64 // copied by the cleaner because they were protected
	EvictedBlobs       int64
	DroppedGenerations int64
	RefusedWrites      int64 // answered by a *FullError
	DamagedBlobs       int64 // taken out because their content had changed on the disk
	ScrubbedBytes      int64 // read by the background scrub
	Scrubs             int64 // its complete rounds
	RebuiltIndexes     int64
	AbandonedUploads   int64
}

// Stats returns the state of the store. It is cheap.
func (s *Store) Stats() Stats {
	c := &s.counters
	st := Stats{
		DiskBytes: s.space.used(), MaxBytes: s.opt.MaxBytes, ProtectedBytes: c.lastSurvey.Load(),
		PartialUploads: s.writers.count(),
		WrittenBytes:   c.written.Load(), CarriedBytes: c.carried.Load(), EvictedBlobs: c.evicted.Load(),
		DroppedGenerations: c.dropped.Load(), RefusedWrites: c.refused.Load(), DamagedBlobs: c.damaged.Load(),
		ScrubbedBytes: c.scrubbed.Load(), Scrubs: c.scrubs.Load(), RebuiltIndexes: c.reindexed.Load(),
		AbandonedUploads: c.abandoned.Load(),
	}
	for _, g := range s.ring() {
		st.Generations++
		st.Blobs += g.blobs.Load()
		st.LogicalBytes += g.logical.Load()
		if !g.sealed.Load() {
			st.OpenGenerations++
		}
	}
	return st
}
