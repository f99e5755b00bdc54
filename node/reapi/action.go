package reapi

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Messages larger than this are refused before they are read: an Action is a
// few hundred bytes, and no kernel takes arguments of more than a few MiB.
const (
	maxActionBytes  = 1 << 20
	maxCommandBytes = 8 << 20
)

// blobs is the content-addressable storage as the execution half needs it.
type blobs interface {
	Get(ctx context.Context, d digest.Digest) ([]byte, error)
	FindMissing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error)
}

// inputs tells what an input root lacks.
type inputs interface {
	InputRoot(ctx context.Context, root digest.Digest) ([]digest.Digest, error)
}

// parsedAction is what the server needs to know of an Action and its Command,
// once checked. All but the atomic fields follow from the digest alone, so it
// never grows stale; only what it names may have left the store.
type parsedAction struct {
	digest      digest.Digest
	command     digest.Digest
	inputRoot   digest.Digest
	platform    platform
	timeout     time.Duration // 0: none asked for
	commandLine string
	program     string // arguments[0] when it is an absolute path
	doNotCache  bool

	seen   atomic.Int64                // Unix nanoseconds when action and command were last found present
	rootFS atomic.Int32                // what isRootFileSystem found
	reply  atomic.Pointer[cachedReply] // of the last answer from the cache
}

// bytes estimates the memory held, with room for a cachedReply.
func (p *parsedAction) bytes() int {
	n := 512 + maxCachedReply + len(p.commandLine) + len(p.program)
	for _, property := range p.platform.matched {
		n += 64 + len(property.Name) + len(property.Value)
	}
	for _, property := range p.platform.carried {
		n += 64 + len(property.Name) + len(property.Value)
	}
	return n
}

// actions loads, checks and remembers actions.
type actions struct {
	blobs      blobs
	inputs     inputs
	keys       platformKeys
	maxTimeout time.Duration
	freshFor   time.Duration // how long a found Action needs no other look
	memo       *memo
}

// load returns the action that d names. What is missing of the Action and the
// Command, and with the Command all of the input root, comes back as one
// FAILED_PRECONDITION with a violation for each blob (REAPI, Execute).
func (a *actions) load(ctx context.Context, d digest.Digest) (*parsedAction, error) {
	if p := a.memo.get(d); p != nil {
		if time.Now().UnixNano()-p.seen.Load() < int64(a.freshFor) {
			return p, nil
		}
		missing, err := a.blobs.FindMissing(ctx, []digest.Digest{p.digest, p.command})
		if err != nil {
			return nil, statusOf(err)
		}
		if len(missing) == 0 {
			p.seen.Store(time.Now().UnixNano())
			return p, nil
		}
	}
	p, err := a.read(ctx, d)
	if err != nil {
		return nil, err
	}
	p.seen.Store(time.Now().UnixNano())
	a.memo.put(p)
	return p, nil
}

// read parses and checks an action from the store.
func (a *actions) read(ctx context.Context, d digest.Digest) (*parsedAction, error) {
	if d.Size > maxActionBytes {
		return nil, invalidField("action_digest", fmt.Sprintf("an Action of %d bytes: at most %d are taken", d.Size, maxActionBytes))
	}
	var action repb.Action
	switch data, err := a.blobs.Get(ctx, d); {
	case errors.Is(err, cas.ErrNotFound):
		return nil, missingBlobs([]digest.Digest{d})
	case err != nil:
		return nil, statusOf(err)
	case proto.Unmarshal(data, &action) != nil:
		return nil, invalidField("action_digest", fmt.Sprintf("blob %s is not an Action", d))
	}
	p := &parsedAction{digest: d, doNotCache: action.GetDoNotCache()}
	if err := a.digestsOf(p, &action); err != nil {
		return nil, err
	}
	var err error
	if p.timeout, err = a.timeoutOf(&action); err != nil {
		return nil, err
	}
	command, err := a.readCommand(ctx, p)
	if err != nil {
		return nil, err
	}
	if p.platform, err = a.keys.sort(&action, command); err != nil {
		return nil, err
	}
	p.commandLine = commandLine(command.GetArguments())
	if program := command.GetArguments()[0]; program[0] == '/' {
		p.program = program
	}
	return p, nil
}

func (a *actions) digestsOf(p *parsedAction, action *repb.Action) (err error) {
	if p.command, err = digest.FromProto(p.digest.Function, action.GetCommandDigest()); err != nil {
		return invalidField("action.command_digest", err.Error())
	}
	if p.inputRoot, err = digest.FromProto(p.digest.Function, action.GetInputRootDigest()); err != nil {
		return invalidField("action.input_root_digest", err.Error())
	}
	if p.command.Size > maxCommandBytes {
		return invalidField("action.command_digest", fmt.Sprintf("a Command of %d bytes: at most %d are taken", p.command.Size, maxCommandBytes))
	}
	return nil
}

// timeoutOf returns the time-out asked for. One above the server's maximum must
// be refused (REAPI, Action.timeout).
func (a *actions) timeoutOf(action *repb.Action) (time.Duration, error) {
	t := action.GetTimeout()
	if t == nil {
		return 0, nil
	}
	if t.CheckValid() != nil || t.GetSeconds() < 0 || t.GetNanos() < 0 {
		return 0, invalidField("action.timeout", "is not a positive duration")
	}
	if d := t.AsDuration(); a.maxTimeout <= 0 || d <= a.maxTimeout {
		return d, nil
	}
	return 0, timeoutTooLarge()
}

// readCommand reads the Command of p. When it is missing, the error names the
// rest of what is missing too.
func (a *actions) readCommand(ctx context.Context, p *parsedAction) (*repb.Command, error) {
	data, err := a.blobs.Get(ctx, p.command)
	if errors.Is(err, cas.ErrNotFound) {
		missing := []digest.Digest{p.command}
		if more, err := a.inputs.InputRoot(ctx, p.inputRoot); err == nil {
			missing = append(missing, more...)
		}
		return nil, missingBlobs(missing)
	}
	if err != nil {
		return nil, statusOf(err)
	}
	var command repb.Command
	if proto.Unmarshal(data, &command) != nil {
		return nil, invalidField("action.command_digest", fmt.Sprintf("blob %s is not a Command", p.command))
	}
	return &command, checkCommand(&command)
}

// requirePresent makes sure, before p is queued, that every blob it names is in
// the store, and protects them.
func (a *actions) requirePresent(ctx context.Context, p *parsedAction) error {
	missing, err := a.blobs.FindMissing(ctx, []digest.Digest{p.digest, p.command})
	if err != nil {
		return statusOf(err)
	}
	more, err := a.inputs.InputRoot(ctx, p.inputRoot)
	if errors.Is(err, actioncache.ErrMalformed) && len(missing) == 0 {
		return invalidField("action.input_root_digest", err.Error())
	}
	if err != nil && !errors.Is(err, actioncache.ErrMalformed) {
		return statusOf(err)
	}
	if missing = append(missing, more...); len(missing) > 0 {
		return missingBlobs(missing)
	}
	p.seen.Store(time.Now().UnixNano())
	return nil
}
