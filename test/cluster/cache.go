package cluster

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	hotKeys   = 3  // that all clients use at a time
	keyUses   = 60 // after which another key takes its place: the search takes longer the more there are
	cachePace = 60 * time.Millisecond
)

// cacheKeys hands out the keys of the action cache that clients meet at.
type cacheKeys struct {
	mu   sync.Mutex
	made int
	hot  [hotKeys]string
	uses [hotKeys]int
	all  []string
}

// next returns a key that is in use by all clients.
func (k *cacheKeys) next(i int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.uses[i]%keyUses == 0 {
		k.made++
		k.hot[i] = fmt.Sprint("key-", k.made)
		k.all = append(k.all, k.hot[i])
	}
	k.uses[i]++
	return k.hot[i]
}

// keys returns all that were in use.
func (k *cacheKeys) keys() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.all...)
}

// useCache puts and gets entries until ctx ends.
func (c *caller) useCache(ctx context.Context) {
	for n := 0; c.pause(ctx, cachePace); n++ {
		key := c.cacheKeys.next(c.random.IntN(hotKeys))
		var err error
		if c.random.IntN(5) < 2 {
			err = c.put(ctx, key, fmt.Sprintf("%d-%d", c.id, n))
		} else {
			err = c.get(ctx, key)
		}
		if err == nil {
			c.entries.Add(1)
		}
	}
}

// put writes an entry whose output is a blob with the value as its content. Each
// attempt is an event of its own, since a failed one may have its effect later.
func (c *caller) put(ctx context.Context, key, value string) error {
	output := client.Blob(digest.SHA256, []byte(value))
	if err := c.store(ctx, []client.Source{output}); err != nil {
		return err
	}
	request := &repb.UpdateActionResultRequest{
		InstanceName: harness.Instance, ActionDigest: c.actionKey(key),
		ActionResult: &repb.ActionResult{
			StdoutRaw:   []byte(value),
			OutputFiles: []*repb.OutputFile{{Path: "out", Digest: output.Digest.Proto()}},
		},
	}
	return c.try(ctx, "put "+key, func(ctx context.Context, e *endpoint) error {
		ctx, sent := watchSent(ctx)
		call, end := c.cacheHistory.now(), int64(never)
		_, err := e.cache.UpdateActionResult(ctx, request)
		if err == nil {
			end = c.cacheHistory.now()
		}
		if err == nil || *sent {
			c.cacheHistory.add(c.id, cacheAsk{key, true, value}, nil, call, end)
		}
		return err
	})
}

// get reads an entry, and sometimes the blob that it names, through another node.
func (c *caller) get(ctx context.Context, key string) error {
	var have *repb.ActionResult
	err := c.try(ctx, "get "+key, func(ctx context.Context, e *endpoint) (err error) {
		have, err = c.getFrom(ctx, e, key)
		return err
	})
	if err != nil || have == nil || c.random.IntN(4) > 0 {
		return err
	}
	d, err := digest.FromProto(digest.SHA256, have.GetOutputFiles()[0].GetDigest())
	if err != nil {
		return err
	}
	return c.try(ctx, "fetch the output of "+key, func(ctx context.Context, e *endpoint) error {
		return e.blobs.Fetch(ctx, d, io.Discard)
	})
}

// getFrom asks one node; nil without an error: it has no entry.
func (c *caller) getFrom(ctx context.Context, e *endpoint, key string) (*repb.ActionResult, error) {
	call := c.cacheHistory.now()
	have, err := e.cache.GetActionResult(ctx, &repb.GetActionResultRequest{InstanceName: harness.Instance, ActionDigest: c.actionKey(key)})
	end := c.cacheHistory.now()
	if status.Code(err) == codes.NotFound {
		c.cacheHistory.add(c.id, cacheAsk{key: key}, notFound, call, end)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value := string(have.GetStdoutRaw())
	c.cacheHistory.add(c.id, cacheAsk{key: key}, value, call, end)
	files := have.GetOutputFiles()
	if len(files) != 1 || files[0].GetDigest().GetHash() != digest.Of(digest.SHA256, []byte(value)).Hex() {
		return nil, fmt.Errorf("the entry with value %q names other outputs: %v", value, files)
	}
	return have, nil
}

// readAllEntries gets every entry through every node: what was acknowledged must
// still be there.
func (c *caller) readAllEntries(ctx context.Context) error {
	for _, key := range c.cacheKeys.keys() {
		for _, e := range c.endpoints {
			err := c.insist(ctx, "get "+key, e, func(ctx context.Context, e *endpoint) error {
				_, err := c.getFrom(ctx, e, key)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// actionKey is the digest of an action that nobody has executed.
func (c *caller) actionKey(key string) *repb.Digest {
	return digest.Of(digest.SHA256, fmt.Appendf(nil, "%s of %016x", key, c.run)).Proto()
}
