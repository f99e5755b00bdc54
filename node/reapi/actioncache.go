package reapi

import (
	"context"
	"errors"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// maxLoggedResult is the largest serialised ActionResult in bytes that goes
// through the command log; a larger one goes as a blob and its digest.
const maxLoggedResult = 64 << 10

// cachedResults is the action cache as its service needs it.
type cachedResults interface {
	results
	Room() error
}

// actionCache serves build.bazel.remote.execution.v2.ActionCache.
type actionCache struct {
	repb.UnimplementedActionCacheServer
	instances instances
	results   cachedResults
	inliner   inliner
	store     Blobs
	proposer  raftfsm.Proposer
	barrier   func(context.Context) error // nil: none is needed
}

// GetActionResult returns a result of which every blob is there, and protected
// from then on; otherwise it is NOT_FOUND (REAPI, ActionCache). Wishes for inlined
// content are met as far as it fits.
func (a *actionCache) GetActionResult(ctx context.Context, req *repb.GetActionResultRequest) (*repb.ActionResult, error) {
	instance, err := a.instances.resolve(req.GetInstanceName())
	if err != nil {
		return nil, err
	}
	d, err := digestOf("action_digest", req.GetDigestFunction(), req.GetActionDigest())
	if err != nil {
		return nil, err
	}
	if a.barrier != nil {
		if err := a.barrier(ctx); err != nil {
			return nil, statusOf(err)
		}
	}
	result, err := a.results.Get(ctx, instance, d)
	if errors.Is(err, actioncache.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "no complete result is cached for action %s", d)
	}
	if err != nil {
		return nil, statusOf(err)
	}
	if h := hintsOf(req); h.any() {
		result = a.inliner.result(ctx, d.Function, result, h)
	}
	return result, nil
}

// UpdateActionResult caches a result and returns it (REAPI, ActionCache). It is
// durable, with every blob that was acknowledged before, when the answer leaves.
// The result of an action that failed is taken and not stored, as in BuildGrid.
// Blobs that it names may be missing: then it is not served, and a look-up before
// they are there evicts it.
func (a *actionCache) UpdateActionResult(ctx context.Context, req *repb.UpdateActionResultRequest) (*repb.ActionResult, error) {
	instance, err := a.instances.resolve(req.GetInstanceName())
	if err != nil {
		return nil, err
	}
	d, err := digestOf("action_digest", req.GetDigestFunction(), req.GetActionDigest())
	if err != nil {
		return nil, err
	}
	result := req.GetActionResult()
	if err := checkResult(d.Function, result); err != nil {
		return nil, err
	}
	if result.GetExitCode() != 0 {
		return result, nil
	}
	if err := a.results.Room(); err != nil {
		return nil, statusOf(err)
	}
	put, err := a.putOf(ctx, instance, d, result)
	if err != nil {
		return nil, err
	}
	applied, err := a.proposer.Propose(ctx, raftfsm.ActionCachePut(put))
	if err == nil && len(applied.Errors) > 0 {
		err = applied.Errors[0]
	}
	if err != nil {
		return nil, statusOf(err)
	}
	return result, nil
}

// putOf makes the command, and stores a large result as a blob.
func (a *actionCache) putOf(ctx context.Context, instance string, d digest.Digest, result *repb.ActionResult) (*commandpb.ActionCachePut, error) {
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(result)
	if err != nil {
		return nil, statusOf(err)
	}
	put := &commandpb.ActionCachePut{Instance: instance, Action: commandDigest(d)}
	if len(wire) <= maxLoggedResult {
		put.Result = &commandpb.ActionCachePut_ActionResult{ActionResult: wire}
		return put, nil
	}
	blob := cas.Blob{Digest: digest.Of(d.Function, wire), Data: wire}
	if err := a.store.PutMany(ctx, cas.Upload, []cas.Blob{blob})[0]; err != nil {
		return nil, statusOf(err)
	}
	put.Result = &commandpb.ActionCachePut_ActionResultBlob{ActionResultBlob: commandDigest(blob.Digest)}
	return put, nil
}

// commandDigest is d as commands carry it.
func commandDigest(d digest.Digest) *queuepb.Digest {
	return &queuepb.Digest{Function: uint32(d.Function), Hash: d.Hash[:], Size: d.Size}
}
