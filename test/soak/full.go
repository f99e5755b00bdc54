package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// fillUp uploads without pause until everything in the store is protected, looks
// at how it refuses more, that a running action may still store its output, that
// nothing was lost, and that the store recovers.
func fillUp(ctx context.Context, s *settings, z capSizes, n *harness.Node) error {
	c, err := n.Client(client.Options{Tool: "soak", Patience: -1})
	if err != nil {
		return err
	}
	defer c.Close()
	f := &filler{settings: s, capSizes: z, node: n, c: c, random: s.random(5)}
	for _, step := range []func(context.Context) error{f.prepare, f.untilRefused, f.outputsAreTaken, f.nothingIsLost, f.recovers} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// filler is the state of fillUp.
type filler struct {
	*settings
	capSizes
	node   *harness.Node
	c      *client.Client
	random *rand.Rand

	action *action // uploaded before the store is full
	began  time.Time
	acked  []digest.Digest
	bytes  int64
	retry  time.Duration // what the refusal asks to wait
}

// prepare uploads an action, whose output is a megabyte.
func (f *filler) prepare(ctx context.Context) (err error) {
	const size = 1 << 20
	input := fmt.Appendf(nil, "%032x", f.random.Uint64())
	output := []byte(strings.Repeat(string(input)+"\n", size/len(input)+1)[:size])
	if f.action, err = buildAction(fmt.Sprintf(`yes "$(cat in)" | head -c %d >out`, size), "cap", input, output); err != nil {
		return err
	}
	f.began = time.Now()
	_, err = f.c.Upload(ctx, f.action.sources, nil)
	return err
}

// untilRefused uploads until the store refuses.
func (f *filler) untilRefused(ctx context.Context) error {
	conn, err := f.node.Conn()
	if err != nil {
		return err
	}
	defer conn.Close()
	cas := repb.NewContentAddressableStorageClient(conn)
	for f.bytes < 2*f.cap {
		req := &repb.BatchUpdateBlobsRequest{InstanceName: harness.Instance}
		var ds []digest.Digest
		for range 3 {
			data := fastBytes(f.random, 1<<20)
			d := digest.Of(digest.SHA256, data)
			ds = append(ds, d)
			req.Requests = append(req.Requests, &repb.BatchUpdateBlobsRequest_Request{Digest: d.Proto(), Data: data})
		}
		refusal, err := f.send(ctx, cas, req, ds)
		if err != nil {
			return err
		}
		if refusal != nil {
			return f.checkRefusal(refusal)
		}
	}
	return fmt.Errorf("%d MiB were taken in %s by a store of %d MiB with a protection window of %s: nothing was refused, so that something must be lost",
		f.bytes>>20, time.Since(f.began), f.cap>>20, f.full)
}

// send makes one call and notes what was taken; refusal is the first status
// other than OK.
func (f *filler) send(ctx context.Context, cas repb.ContentAddressableStorageClient, req *repb.BatchUpdateBlobsRequest, ds []digest.Digest) (refusal *status.Status, err error) {
	reply, err := cas.BatchUpdateBlobs(ctx, req)
	if status.Code(err) == codes.ResourceExhausted {
		return status.Convert(err), nil
	}
	if err != nil {
		return nil, fmt.Errorf("fill the store: %w", err)
	}
	if len(reply.GetResponses()) != len(ds) {
		return nil, fmt.Errorf("fill the store: %d answers for %d blobs", len(reply.GetResponses()), len(ds))
	}
	for i, r := range reply.GetResponses() {
		if codes.Code(r.GetStatus().GetCode()) != codes.OK {
			return status.FromProto(r.GetStatus()), nil
		}
		f.acked = append(f.acked, ds[i])
		f.bytes += ds[i].Size
	}
	return nil, nil
}

// checkRefusal wants RESOURCE_EXHAUSTED with the time after which to try again.
func (f *filler) checkRefusal(s *status.Status) error {
	took := time.Since(f.began)
	if s.Code() != codes.ResourceExhausted {
		return fmt.Errorf("a full store refuses with %s (%s), want RESOURCE_EXHAUSTED", s.Code(), s.Message())
	}
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() > 0 {
			f.retry = info.GetRetryDelay().AsDuration()
		}
	}
	if f.retry == 0 {
		return fmt.Errorf("the refusal %q has no RetryInfo", s.Message())
	}
	if took > f.full {
		return fmt.Errorf("the store was full only after %s, longer than its window of %s: this machine is too slow for this loop", took, f.full)
	}
	f.say("cap: full after %d MiB in %s: %q, try again in %s", f.bytes>>20, took.Round(time.Millisecond), s.Message(), f.retry)
	return nil
}

// outputsAreTaken executes the action that was prepared.
func (f *filler) outputsAreTaken(ctx context.Context) error {
	op, err := f.c.Execute(ctx, client.Execution{Action: f.action.digest}, nil)
	if err == nil {
		err = f.action.check(op)
	}
	if err != nil {
		return fmt.Errorf("an action that runs while the store is full: %w", err)
	}
	return nil
}

// nothingIsLost looks for everything that was acknowledged. This protects it anew.
func (f *filler) nothingIsLost(ctx context.Context) error {
	missing, err := f.c.FindMissing(ctx, f.acked)
	if err != nil {
		return err
	}
	if len(missing) > 0 && time.Since(f.began) < f.full {
		return fmt.Errorf("%d of %d acknowledged blobs were lost within their window, among them %s", len(missing), len(f.acked), missing[0])
	}
	return nil
}

// recovers uploads until the window has passed. The store must refuse at first,
// since nothingIsLost has protected everything anew.
func (f *filler) recovers(ctx context.Context) error {
	began := time.Now()
	limit := 2*f.full + 30*time.Second
	for refused := 0; ; refused++ {
		_, err := f.c.UploadBlob(ctx, fastBytes(f.random, 3<<20))
		if err == nil && refused == 0 {
			return errors.New("a store full of protected blobs took an upload: something must be lost")
		}
		if err == nil {
			f.say("cap: uploads were taken again %s after the last use of what is protected (window %s)", time.Since(began).Round(time.Second), f.full)
			return nil
		}
		if status.Code(err) != codes.ResourceExhausted {
			return fmt.Errorf("a full store: %w", err)
		}
		if time.Since(began) > limit {
			return errors.Join(fmt.Errorf("the store takes nothing %s after its window of %s began", limit, f.full), err)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
