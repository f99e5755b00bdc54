package runners

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/runners/trees"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// WorkerOptions is what NewWorker needs.
type WorkerOptions struct {
	Leases  Leases   // required
	Blobs   Blobs    // required
	Runners []Runner // at least one, each with a name of its own
	// Dir is where input roots are laid out and input files kept. It is made when it
	// is not there, and belongs to one worker at a time.
	Dir string
	// CacheBytes bounds the input files that are kept on disk; 0 keeps none.
	CacheBytes int64
	// TreeBytes bounds the directory trees that are kept on disk for actions to share:
	// chroots, and input roots that are root file systems; 0 keeps those in use.
	TreeBytes int64
	// CacheEagerly keeps an input file from its first use on, for a worker whose
	// Blobs are far away; otherwise from the second on.
	CacheEagerly bool
	// Slots is how many commands run at once, at least 1. Leases beyond them are
	// prepared and finished meanwhile: how many those are is up to the session's
	// capacity.
	Slots int
	// Name is what results name as their worker.
	Name string
	// Limits bound each action; its platform properties may lower them, see LimitNames.
	Limits Limits
	// MaxOutputBytes bounds what one action may store, stdout and stderr included;
	// 0 means 64 GiB. Beyond: RESOURCE_EXHAUSTED.
	MaxOutputBytes int64
	// Streams, when it is set, is told of commands that take their time; see
	// StreamsFunc.
	Streams StreamsFunc
	// APIs serves the actions that ask for a socket (remoteApisSocketPath). Such an
	// action gives its slot up, since it waits for what others run. nil: they are
	// refused.
	APIs   APIsFunc
	Logger *slog.Logger // nil: slog.Default
}

// defaultMaxOutput is MaxOutputBytes where it is not given.
const defaultMaxOutput = 64 << 30

// parsedBytes bounds the parsed Directory messages in memory.
const parsedBytes = 32 << 20

// Validate names what is missing or out of range.
func (o *WorkerOptions) Validate() error {
	switch {
	case o.Leases == nil || o.Blobs == nil:
		return errors.New("worker: Leases and Blobs must be set")
	case len(o.Runners) == 0:
		return errors.New("worker: Runners must have one at least")
	case o.Dir == "":
		return errors.New("worker: Dir must be set")
	case o.Slots < 1:
		return fmt.Errorf("worker: Slots is %d, at least 1 is needed", o.Slots)
	case o.CacheBytes < 0 || o.TreeBytes < 0 || o.MaxOutputBytes < 0:
		return errors.New("worker: CacheBytes, TreeBytes and MaxOutputBytes must not be negative")
	}
	seen := map[string]bool{}
	for _, r := range o.Runners {
		if seen[r.Name()] {
			return fmt.Errorf("worker: two runners have the name %q", r.Name())
		}
		seen[r.Name()] = true
	}
	return nil
}

// Worker executes the actions of one session. Run drives it.
type Worker struct {
	leases  Leases
	blobs   Blobs
	runners []Runner
	name    string
	maxOut  int64
	limits  Limits
	streams StreamsFunc
	apis    APIsFunc
	log     *slog.Logger

	work   *workDir
	files  *fileCache
	trees  *trees.Cache
	disk   *diskGuard
	dirs   *lru[digest.Digest, *directory]
	places chan *place   // idle ones
	slots  chan struct{} // as many as commands may run
	umask  uint32
}

// NewWorker prepares the worker's directory: what an earlier life left in it,
// killed or not, is set aside and removed while the worker is at work. So a cached
// file that was being written when the power went is never used. Without a
// following Run, Close must be called.
func NewWorker(o WorkerOptions) (*Worker, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxOutputBytes == 0 {
		o.MaxOutputBytes = defaultMaxOutput
	}
	umask, err := processUmask()
	if err != nil {
		return nil, err
	}
	work, err := openWorkDir(o.Dir, o.Slots, o.Logger)
	if err != nil {
		return nil, err
	}
	files, err := newFileCache(filepath.Join(work.path, cacheName), o.CacheBytes, o.CacheEagerly, o.Logger)
	if err != nil {
		return nil, errors.Join(err, work.close())
	}
	shared, err := trees.New(trees.Options{Dir: filepath.Join(work.path, treesName), MaxBytes: o.TreeBytes, Remove: work.trash.add})
	if err != nil {
		files.end()
		return nil, errors.Join(err, work.close())
	}
	return &Worker{
		leases: o.Leases, blobs: o.Blobs, runners: o.Runners, name: o.Name, maxOut: o.MaxOutputBytes, limits: o.Limits, streams: o.Streams, apis: o.APIs, log: o.Logger,
		work: work, files: files, trees: shared, disk: &diskGuard{path: work.path, running: map[string]context.CancelCauseFunc{}}, umask: umask,
		dirs:   newLRU[digest.Digest, *directory](parsedBytes, nil),
		places: make(chan *place, o.Slots),
		slots:  make(chan struct{}, o.Slots),
	}, nil
}

// Close removes what the actions left behind and gives the directory free. Run
// does it at its end.
func (w *Worker) Close() error {
	for {
		select {
		case p := <-w.places:
			p.close()
			continue
		default:
		}
		break
	}
	w.files.end()
	err := w.work.close() // which still removes trees
	return errors.Join(err, w.trees.Close())
}

// runner chooses the runner of an action: the one that its property "runner"
// names. The server adds that; without it the choice is the server's: userchroot
// for a chroot, else the only one, or the first of bubblewrap and hosttools.
func (w *Worker) runner(l *Lease) (Runner, error) {
	wanted := []string{"bubblewrap", "hosttools"}
	if name, asked := propertyOf(l.Properties, runnerProperty); asked {
		wanted = []string{name}
	} else if _, chroot := propertyOf(l.Properties, chrootProperty); chroot {
		wanted = []string{"userchroot"}
	} else if len(w.runners) == 1 {
		return w.runners[0], nil
	}
	for _, name := range wanted {
		for _, r := range w.runners {
			if r.Name() == name {
				return r, nil
			}
		}
	}
	return nil, fmt.Errorf("this worker has no runner %q", wanted[0])
}

const runnerProperty = "runner"

func propertyOf(ps []Property, name string) (value string, ok bool) {
	for _, p := range ps {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}
