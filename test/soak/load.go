package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// Callers of a load: more executions at a time than there are slots, so that some
// run and some wait at any moment.
const (
	executors = 8
	uploaders = 2
)

// marker is an environment variable of every command of this run: what an action
// leaves behind is found by it.
const markerName = "BGRID_SOAK_RUN"

// load uses a node until its connections break, and notes what was acknowledged.
type load struct {
	ledger *ledger
	marker string // value of markerName
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// startPatience is far above what the first operation takes to be accepted.
const startPatience = time.Minute

// startLoad begins a load on the node and returns once that is under way.
func startLoad(ctx context.Context, n *harness.Node, marker string, random *rand.Rand) (*load, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{ledger: newLedger(), marker: marker, cancel: cancel}
	for i := range executors + uploaders {
		// No patience: a broken call is not repeated, so that an acknowledgement is the
		// answer to exactly one call. Each caller has a connection of its own.
		c, err := n.Client(client.Options{Patience: -1, Tool: "soak"})
		if err != nil {
			l.stop()
			return nil, err
		}
		do := l.upload
		if i < executors {
			do = l.execute
		}
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(i)))
		l.wg.Go(func() {
			defer c.Close()
			for ctx.Err() == nil && do(ctx, c, own) == nil {
			}
		})
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		err := l.ledger.worthwhile()
		if err == nil {
			return l, nil
		}
		if time.Since(began) > startPatience || ctx.Err() != nil {
			l.stop()
			return nil, err
		}
	}
}

// stop ends the load and waits for its callers.
func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

// uploadPause paces the uploads, so that all rounds of a loop together fit into
// the store with room to spare: everything in it is protected.
const uploadPause = 25 * time.Millisecond

// upload stores ten blobs at once, or sometimes one large one.
func (l *load) upload(ctx context.Context, c *client.Client, random *rand.Rand) error {
	select {
	case <-time.After(uploadPause):
	case <-ctx.Done():
		return ctx.Err()
	}
	var sources []client.Source
	for range 10 {
		sources = append(sources, client.Blob(digest.SHA256, randomBytes(random, 1+random.IntN(16<<10))))
	}
	if random.IntN(40) == 0 {
		sources = []client.Source{client.Blob(digest.SHA256, randomBytes(random, 5<<20+random.IntN(1<<20)))}
	}
	return l.store(ctx, c, sources)
}

// store uploads and notes what was acknowledged.
func (l *load) store(ctx context.Context, c *client.Client, sources []client.Source) error {
	if _, err := c.Upload(ctx, sources, nil); err != nil {
		return err
	}
	for _, s := range sources {
		l.ledger.stored(s.Digest)
	}
	return nil
}

// execute runs one action to its end.
func (l *load) execute(ctx context.Context, c *client.Client, random *rand.Rand) error {
	a, err := newAction(random, l.marker)
	if err != nil {
		return err
	}
	if err := l.store(ctx, c, a.sources); err != nil {
		return err
	}
	op, err := c.Execute(ctx, client.Execution{Action: a.digest}, func(op *client.Operation) {
		if !op.Done {
			l.ledger.accept(accepted{name: op.Name, action: a.digest, output: a.output})
		}
	})
	if err != nil {
		return err
	}
	if err := a.check(op); err != nil {
		return err // the same operation is looked at again after the restart
	}
	l.ledger.finish(op.Name)
	return nil
}

// action is a command, what it needs, and what it must come to.
type action struct {
	digest  digest.Digest
	sources []client.Source
	output  digest.Digest
}

// scripts do the same thing, "out" has what "in" has, in the ways in which real
// actions are a burden.
var scripts = [...]string{
	`cp in out`,
	`cp in out`,
	`sleep 0.2; cp in out`,
	`sleep 0.05; cp in out`,
	`trap '' TERM HUP INT; sleep 0.1; cp in out`,
	// Daemons, forked twice, in sessions of their own.
	`cp in out; (setsid sh -c '(sleep 600 &) ; sleep 600' >/dev/null 2>&1 </dev/null &)`,
	`(setsid sh -c 'trap "" TERM HUP INT; (sleep 600 &) ; sleep 600' >/dev/null 2>&1 </dev/null &); sleep 0.1; cp in out`,
}

// bigScript makes an output of many chunks from a small input.
const (
	bigScript = `yes "$(cat in)" | head -c 5000000 >out`
	bigSize   = 5_000_000
)

// newAction makes an action that nobody has executed before.
func newAction(random *rand.Rand, marker string) (*action, error) {
	input := fmt.Appendf(nil, "%016x%016x", random.Uint64(), random.Uint64())
	output, script := input, scripts[random.IntN(len(scripts))]
	if random.IntN(10) == 0 {
		script = bigScript
		line := append(bytes.Clone(input), '\n')
		output = bytes.Repeat(line, bigSize/len(line)+1)[:bigSize]
	}
	return buildAction(script, marker, input, output)
}

func buildAction(script, marker string, input, output []byte) (*action, error) {
	in := client.Blob(digest.SHA256, input)
	root, err := client.MessageSource(digest.SHA256, &repb.Directory{Files: []*repb.FileNode{{Name: "in", Digest: in.Digest.Proto()}}})
	if err != nil {
		return nil, err
	}
	command, err := client.MessageSource(digest.SHA256, &repb.Command{
		Arguments: []string{"/bin/sh", "-c", script},
		EnvironmentVariables: []*repb.Command_EnvironmentVariable{
			{Name: markerName, Value: marker}, {Name: "PATH", Value: "/usr/bin:/bin"},
		},
		OutputPaths: []string{"out"},
	})
	if err != nil {
		return nil, err
	}
	proto, err := client.MessageSource(digest.SHA256, &repb.Action{CommandDigest: command.Digest.Proto(), InputRootDigest: root.Digest.Proto()})
	if err != nil {
		return nil, err
	}
	return &action{
		digest:  proto.Digest,
		sources: []client.Source{in, root, command, proto},
		output:  digest.Of(digest.SHA256, output),
	}, nil
}

// check says what is wrong with the end of an operation.
func (a *action) check(op *client.Operation) error {
	return checkOutput(op, a.output)
}

func checkOutput(op *client.Operation, want digest.Digest) error {
	if err := op.Outcome(); err != nil {
		return fmt.Errorf("operation %s ended: %w", op.Name, err)
	}
	r := op.Response.GetResult()
	if r.GetExitCode() != 0 || len(r.GetOutputFiles()) != 1 {
		return fmt.Errorf("operation %s ended with exit code %d and %d outputs: %s", op.Name, r.GetExitCode(), len(r.GetOutputFiles()), r.GetStderrRaw())
	}
	have, err := digest.FromProto(digest.SHA256, r.GetOutputFiles()[0].GetDigest())
	if err != nil {
		return fmt.Errorf("operation %s: %w", op.Name, err)
	}
	if have != want {
		return fmt.Errorf("operation %s has output %s, want %s", op.Name, have, want)
	}
	return nil
}

func randomBytes(random *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}
