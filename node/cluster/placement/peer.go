package placement

import (
	"context"
	"fmt"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Limits of the calls to a member: one message has 4 MiB at most.
const (
	batchBytes  = 4<<20 - 4<<10
	batchEntry  = 128   // what a blob takes in a message beside its content, at most
	batchMost   = 10000 // digests in one message
	receiveMost = 8 << 20
	// answerTime is for calls that read only: a store that takes longer is ill.
	answerTime = 20 * time.Second
)

// classHeader and classOutput say to a member that what it stores is the output of
// an action (reapi.PeerClassHeader).
const (
	classHeader = "bgrid-class"
	classOutput = "output"
)

func outgoing(ctx context.Context, class cas.Class) context.Context {
	if class == cas.Output {
		return metadata.AppendToOutgoingContext(ctx, classHeader, classOutput)
	}
	return ctx
}

// call is one unary call to the storage of another member.
func (m *member) call(ctx context.Context, do func(context.Context, repb.ContentAddressableStorageClient) error) error {
	during, end := m.while(ctx)
	defer end()
	conn, err := m.conn()
	if err == nil {
		err = do(during, repb.NewContentAddressableStorageClient(conn))
	}
	return m.explain(ctx, err)
}

// missing returns the positions in ds of those of the blobs asked for that the
// member lacks; it protects the others.
func (b *Blobs) missing(ctx context.Context, m *member, ds []digest.Digest, asked []int) ([]int, error) {
	var lacking []int
	for len(asked) > 0 {
		part := asked[:min(len(asked), batchMost)]
		asked = asked[len(part):]
		lacks, err := b.missingPart(ctx, m, ds, part)
		if err != nil {
			return nil, err
		}
		lacking = append(lacking, lacks...)
	}
	return lacking, nil
}

func (b *Blobs) missingPart(ctx context.Context, m *member, ds []digest.Digest, part []int) ([]int, error) {
	list := make([]digest.Digest, len(part))
	for k, i := range part {
		list[k] = ds[i]
	}
	absent, err := b.absent(ctx, m, list)
	if err != nil || len(absent) == 0 {
		return nil, err
	}
	gone := make(map[digest.Digest]struct{}, len(absent))
	for _, d := range absent {
		gone[d] = struct{}{}
	}
	var lacking []int
	for _, i := range part {
		if _, ok := gone[ds[i]]; ok {
			lacking = append(lacking, i)
		}
	}
	return lacking, nil
}

// absent is FindMissing on one member.
func (b *Blobs) absent(ctx context.Context, m *member, ds []digest.Digest) ([]digest.Digest, error) {
	if m.self {
		return b.local.FindMissing(ctx, ds)
	}
	b.counters.asked.Add(1)
	req := &repb.FindMissingBlobsRequest{BlobDigests: protos(ds)}
	var absent []digest.Digest
	err := m.call(ctx, func(ctx context.Context, c repb.ContentAddressableStorageClient) error {
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		reply, err := c.FindMissingBlobs(ctx, req)
		for _, p := range reply.GetMissingBlobDigests() {
			d, err := digest.FromProto(digest.SHA256, p)
			if err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			absent = append(absent, d)
		}
		return err
	})
	return absent, err
}

func protos(ds []digest.Digest) []*repb.Digest {
	list := make([]*repb.Digest, len(ds))
	for i, d := range ds {
		list[i] = d.Proto()
	}
	return list
}

// put is PutMany on one member, for blobs that fit into one message together. When
// the call fails, each has its error.
func (b *Blobs) put(ctx context.Context, m *member, class cas.Class, blobs []cas.Blob) []error {
	if m.self {
		errs := b.local.PutMany(ctx, class, blobs)
		for _, err := range errs {
			m.note(err)
		}
		return errs
	}
	errs := make([]error, len(blobs))
	req := &repb.BatchUpdateBlobsRequest{Requests: make([]*repb.BatchUpdateBlobsRequest_Request, len(blobs))}
	for i, blob := range blobs {
		req.Requests[i] = &repb.BatchUpdateBlobsRequest_Request{Digest: blob.Digest.Proto(), Data: blob.Data}
	}
	var reply *repb.BatchUpdateBlobsResponse
	err := m.call(ctx, func(ctx context.Context, c repb.ContentAddressableStorageClient) (err error) {
		reply, err = c.BatchUpdateBlobs(outgoing(ctx, class), req, grpc.MaxCallRecvMsgSize(receiveMost))
		if err == nil && len(reply.GetResponses()) != len(blobs) {
			err = fmt.Errorf("%d answers for %d blobs", len(reply.GetResponses()), len(blobs))
		}
		return err
	})
	for i := range errs {
		if errs[i] = err; err == nil {
			errs[i] = m.explain(ctx, status.FromProto(reply.GetResponses()[i].GetStatus()).Err())
		}
	}
	return errs
}

// get reads blobs from another member that fit into one message together.
func (b *Blobs) get(ctx context.Context, m *member, ds []digest.Digest) ([][]byte, []error) {
	data, errs := make([][]byte, len(ds)), make([]error, len(ds))
	req := &repb.BatchReadBlobsRequest{Digests: protos(ds)}
	var reply *repb.BatchReadBlobsResponse
	err := m.call(ctx, func(ctx context.Context, c repb.ContentAddressableStorageClient) (err error) {
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		reply, err = c.BatchReadBlobs(ctx, req, grpc.MaxCallRecvMsgSize(receiveMost))
		if err == nil && len(reply.GetResponses()) != len(ds) {
			err = fmt.Errorf("%d answers for %d blobs", len(reply.GetResponses()), len(ds))
		}
		return err
	})
	for i := range ds {
		if errs[i] = err; err != nil {
			continue
		}
		r := reply.GetResponses()[i]
		if errs[i] = m.explain(ctx, status.FromProto(r.GetStatus()).Err()); errs[i] == nil {
			data[i] = r.GetData()
		}
		if errs[i] == nil && int64(len(data[i])) != ds[i].Size {
			errs[i] = fmt.Errorf("%w: member %s sent %d bytes for blob %s", cas.ErrUnavailable, m.id, len(data[i]), ds[i])
		}
	}
	return data, errs
}
