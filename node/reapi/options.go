package reapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
)

// Options says what Register serves, and from where.
type Options struct {
	// Instance is the one instance name that is served.
	Instance string
	// EmptyInstance makes the empty instance name mean Instance too.
	EmptyInstance bool

	CAS       Blobs              // required
	Results   *actioncache.Store // required
	Scheduler *sched.Scheduler   // required by RegisterExecution
	Proposer  raftfsm.Proposer   // required: takes what UpdateActionResult writes
	// Streams are the log streams that ByteStream and LogStreamService serve. nil:
	// there are none, and that service is not served.
	Streams *logstream.Hub
	// Elsewhere returns a connection to the node that has a log stream, by the name
	// of its hub (logstream.NodeOf): nil when that is this one. A nil func: there are
	// no other nodes.
	Elsewhere func(node string) (grpc.ClientConnInterface, error)
	// ReadBarrier returns once the action cache here has all that was acknowledged
	// anywhere before. nil: it always has.
	ReadBarrier func(ctx context.Context) error

	// MatchedKeys are the platform properties that a worker must offer,
	// CarriedKeys those that are only handed on; every other key is refused. nil
	// means DefaultMatchedKeys and DefaultCarriedKeys.
	MatchedKeys, CarriedKeys []string
	// MaxTimeout is the longest timeout that an action may ask for. 0: any.
	MaxTimeout time.Duration
	// MaxBlobBytes is the largest upload, and what Capabilities says of it. 0
	// means DefaultMaxBlobBytes.
	MaxBlobBytes int64
	// Closing ends when the server is about to stop: streams that wait end with
	// UNAVAILABLE then. nil: they end with their clients only.
	Closing context.Context //nolint:containedctx // a signal
	// Logger gets what clients are told as INTERNAL. slog.Default() when nil.
	Logger *slog.Logger
}

// DefaultMaxBlobBytes is the largest blob that a store of any size can name.
const DefaultMaxBlobBytes = 1<<40 - 1

// Validate says what is missing or wrong, or nil.
func (o Options) Validate() error {
	switch {
	case o.CAS == nil || o.Results == nil || o.Proposer == nil:
		return errors.New("CAS, Results and Proposer must be set")
	case o.MaxTimeout < 0:
		return fmt.Errorf("the maximum timeout %s is negative", o.MaxTimeout)
	case o.MaxBlobBytes < 0 || o.MaxBlobBytes > DefaultMaxBlobBytes:
		return fmt.Errorf("the largest blob of %d bytes is not between 0 and %d", o.MaxBlobBytes, int64(DefaultMaxBlobBytes))
	}
	return CheckInstance(o.Instance)
}

// CheckInstance says why a name cannot be that of an instance: resource names
// could not be told apart (REAPI, instance_name).
func CheckInstance(name string) error {
	const most = 255
	if len(name) > most {
		return fmt.Errorf("the instance name has %d bytes, at most %d are taken", len(name), most)
	}
	if name == "" {
		return nil
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return fmt.Errorf("the instance name %q has an empty segment", name)
		case "blobs", "uploads", "actions", "actionResults", "operations", "capabilities", "compressed-blobs", "logstreams":
			return fmt.Errorf("the instance name %q has the segment %q, which resource names keep for themselves", name, segment)
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.MatchedKeys == nil {
		o.MatchedKeys = DefaultMatchedKeys()
	}
	if o.CarriedKeys == nil {
		o.CarriedKeys = DefaultCarriedKeys()
	}
	if o.MaxBlobBytes == 0 {
		o.MaxBlobBytes = DefaultMaxBlobBytes
	}
	if o.Closing == nil {
		o.Closing = context.Background()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}
