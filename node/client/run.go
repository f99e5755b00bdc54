package client

import (
	"context"
	"fmt"
	"io"
	"path"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

const (
	// maxUploads bounds how often inputs are brought to a server that has lost them.
	maxUploads = 3
	// farewell is for how long an operation is cancelled after ctx has ended.
	farewell = 5 * time.Second
)

// Run uploads what the action needs and executes it. watch, which may be nil, is
// told each change. Inputs that the server turns out to lack are brought again.
// When ctx ends the operation is cancelled, and the error is ctx's, or
// ErrNotCancelled when that did not work.
func (c *Client) Run(ctx context.Context, p *Prepared, watch func(*Operation), up *Progress) (*Operation, error) {
	if err := c.checkExecutes(ctx); err != nil {
		return nil, err
	}
	e := Execution{Action: p.Action, SkipCacheLookup: p.Job.NoCache || p.Job.SkipLookup, Priority: p.Job.Priority}
	for uploads := 1; ; uploads++ {
		if _, err := c.Upload(ctx, p.Sources, up); err != nil {
			return nil, err
		}
		op, err := c.executeOrCancel(ctx, e, watch)
		refused := err
		if err == nil {
			refused = op.Outcome()
		}
		if len(MissingBlobs(refused)) == 0 || uploads == maxUploads {
			return op, err
		}
	}
}

func (c *Client) checkExecutes(ctx context.Context) error {
	served, err := c.Capabilities(ctx)
	if err != nil {
		return err
	}
	if e := served.GetExecutionCapabilities(); e != nil && !e.ExecEnabled {
		return fmt.Errorf("the server at %s does not execute for instance %q", c.server, c.instance)
	}
	return nil
}

// executeOrCancel executes; the end of ctx cancels the operation. An operation
// that was asked for and has no name yet is waited for, so that it can be.
func (c *Client) executeOrCancel(ctx context.Context, e Execution, watch func(*Operation)) (*Operation, error) {
	detached, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	type ending struct {
		op  *Operation
		err error
	}
	names, done := make(chan string, 1), make(chan ending, 1)
	go func() {
		op, err := c.Execute(detached, e, func(op *Operation) {
			select {
			case <-names: // the last name counts
			default:
			}
			names <- op.Name
			if watch != nil && ctx.Err() == nil {
				watch(op)
			}
		})
		done <- ending{op, err}
	}()
	select {
	case end := <-done:
		return end.op, end.err
	case <-ctx.Done():
	}
	limit, stop := context.WithTimeout(detached, farewell)
	defer stop()
	select {
	case name := <-names:
		if err := c.Cancel(limit, name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotCancelled, err)
		}
	case <-done:
	case <-limit.Done():
	}
	giveUp()
	return nil, ctx.Err()
}

// WriteStdout and WriteStderr write what the command printed, inline or from the
// CAS, verified, piece by piece.
func (c *Client) WriteStdout(ctx context.Context, r *repb.ActionResult, w io.Writer) error {
	return c.writeStream(ctx, r.GetStdoutRaw(), r.GetStdoutDigest(), w)
}

// WriteStderr is WriteStdout for the standard error output.
func (c *Client) WriteStderr(ctx context.Context, r *repb.ActionResult, w io.Writer) error {
	return c.writeStream(ctx, r.GetStderrRaw(), r.GetStderrDigest(), w)
}

func (c *Client) writeStream(ctx context.Context, raw []byte, p *repb.Digest, w io.Writer) error {
	if len(raw) > 0 || p == nil {
		_, err := w.Write(raw)
		return err
	}
	d, err := digest.FromProto(c.fn, p)
	if err != nil {
		return fmt.Errorf("%w: output stream: %w", ErrMalformed, err)
	}
	return c.Fetch(ctx, d, w)
}

// NotMade returns the outputs of the job that the result lacks.
func (p *Prepared) NotMade(r *repb.ActionResult) []string {
	made := map[string]bool{}
	for _, o := range OutputPaths(r) {
		made[path.Clean(o)] = true
	}
	var out []string
	for _, o := range p.Job.Outputs {
		if !made[path.Clean(o)] {
			out = append(out, o)
		}
	}
	return out
}
