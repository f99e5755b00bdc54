package runners

import (
	"os"
	"sync"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// streamAfter is for how long a command runs before anybody is told that its output
// can be followed. Most commands end before, and pay nothing for it.
const streamAfter = 200 * time.Millisecond

// StreamsFunc is told of a command that has run for a while, with the files that
// grow while it writes to its stdout and stderr. It takes the files over: they are
// only to be read, at offsets, and to be closed when they are not needed any more.
// It must return at once, whatever it has to do.
//
// What it returns, unless that is nil, is called once when the lease ends, with
// where the outputs are then: the digests of blobs that begin with what was in the
// files, or zero ones when they were not stored.
type StreamsFunc func(l *Lease, stdout, stderr *os.File) (end func(stdout, stderr digest.Digest))

// liveOutput is the output of one command on offer.
type liveOutput struct {
	e     *execution
	timer *time.Timer

	mu      sync.Mutex
	stopped bool
	ended   func(stdout, stderr digest.Digest) // nil: nobody was told
}

// watchOutput waits for a command to take its time.
func (e *execution) watchOutput() *liveOutput {
	if e.w.streams == nil {
		return nil
	}
	o := &liveOutput{e: e}
	o.timer = time.AfterFunc(streamAfter, o.offer)
	return o
}

func (o *liveOutput) offer() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		return
	}
	stdout, stderr, err := o.e.place.share()
	if err != nil {
		o.e.w.log.Warn("output of a command cannot be followed", keyLease, o.e.lease.ID, keyError, err)
		return
	}
	o.ended = o.e.w.streams(o.e.lease, stdout, stderr)
}

// stop says that the command has ended: it is not offered any more.
func (o *liveOutput) stop() {
	if o == nil {
		return
	}
	o.timer.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
}

// end says where the output is now, once stop has been called: with an error,
// nowhere.
func (o *liveOutput) end(err error, r *repb.ActionResult) {
	if o == nil || o.ended == nil {
		return
	}
	var stdout, stderr digest.Digest
	if err == nil {
		fn := o.e.lease.Action.Function
		stdout, _ = digest.FromProto(fn, r.GetStdoutDigest())
		stderr, _ = digest.FromProto(fn, r.GetStderrDigest())
	}
	o.ended(stdout, stderr)
}
