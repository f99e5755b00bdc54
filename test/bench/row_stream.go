package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
)

const (
	streamSize  = 256 << 20
	streamPiece = 1 << 20 // of a message, both ways
)

// streamRows send one large blob at a time, as a linker's output comes.
func streamRows() []row {
	return []row{
		{name: "ByteStream write, 256 MiB", unit: "MB/s", target: 0.6, prepare: prepareStreamWrite},
		{name: "ByteStream read, 256 MiB", unit: "MB/s", target: 0.8, prepare: prepareStreamRead},
	}
}

// largeBlob is content of which no two pieces are alike.
type largeBlob struct {
	data   []byte
	digest *repb.Digest
}

func newLargeBlob() *largeBlob {
	b := &largeBlob{data: make([]byte, streamSize)}
	random := rand.NewPCG(rand.Uint64(), rand.Uint64())
	for i := 0; i < len(b.data); i += 8 {
		binary.LittleEndian.PutUint64(b.data[i:], random.Uint64())
	}
	b.sum()
	return b
}

// renew makes every 4 KiB of the blob differ from what they were.
func (b *largeBlob) renew() {
	n := rand.Uint64() | 1
	for i := 0; i < len(b.data); i += 4096 {
		word := b.data[i : i+8]
		binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)+n)
	}
	b.sum()
}

func (b *largeBlob) sum() {
	sum := sha256.Sum256(b.data)
	b.digest = &repb.Digest{Hash: hex.EncodeToString(sum[:]), SizeBytes: int64(len(b.data))}
}

func prepareStreamWrite(ctx context.Context, b *bench) (floor, product measurement, err error) {
	null, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	blob := newLargeBlob()
	repeat := func(c clients) measurement {
		return func(ctx context.Context) (float64, error) {
			return b.repeat(ctx, func() (time.Duration, error) {
				blob.renew() // a new blob each time, hashed off the clock
				return writeStream(ctx, c[0], blob)
			})
		}
	}
	return repeat(null), repeat(node), nil
}

func prepareStreamRead(ctx context.Context, b *bench) (floor, product measurement, err error) {
	null, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	blob := newLargeBlob()
	if _, err := writeStream(ctx, node[0], blob); err != nil {
		return nil, nil, err
	}
	d := blob.digest
	blob = nil
	repeat := func(c clients) measurement {
		return func(ctx context.Context) (float64, error) {
			return b.repeat(ctx, func() (time.Duration, error) { return readStream(ctx, c[0], d) })
		}
	}
	return repeat(null), repeat(node), nil
}

// repeat transfers a blob for the duration, at least once, and returns MB/s.
func (b *bench) repeat(ctx context.Context, transfer func() (time.Duration, error)) (float64, error) {
	var busy time.Duration
	n := 0
	for busy < b.duration && ctx.Err() == nil {
		d, err := transfer()
		if err != nil {
			return 0, err
		}
		busy += d
		n++
	}
	return float64(n) * streamSize / 1e6 / busy.Seconds(), ctx.Err()
}

func writeStream(ctx context.Context, conn *grpc.ClientConn, blob *largeBlob) (time.Duration, error) {
	began := time.Now()
	stream, err := bspb.NewByteStreamClient(conn).Write(ctx)
	if err != nil {
		return 0, err
	}
	req := &bspb.WriteRequest{
		ResourceName: fmt.Sprintf("%s/uploads/%s/blobs/%s/%d", instance, uuid.NewString(), blob.digest.GetHash(), blob.digest.GetSizeBytes()),
	}
	for at := 0; at < len(blob.data); at += streamPiece {
		req.WriteOffset, req.Data = int64(at), blob.data[at:at+streamPiece]
		req.FinishWrite = at+streamPiece == len(blob.data)
		if err := stream.Send(req); err != nil {
			_, err = stream.CloseAndRecv()
			return 0, fmt.Errorf("write a stream: %w", err)
		}
		req.ResourceName = ""
	}
	reply, err := stream.CloseAndRecv()
	if err == nil && reply.GetCommittedSize() != int64(len(blob.data)) {
		err = fmt.Errorf("write a stream: %d bytes committed", reply.GetCommittedSize())
	}
	return time.Since(began), err
}

func readStream(ctx context.Context, conn *grpc.ClientConn, d *repb.Digest) (time.Duration, error) {
	began := time.Now()
	stream, err := bspb.NewByteStreamClient(conn).Read(ctx, &bspb.ReadRequest{
		ResourceName: fmt.Sprintf("%s/blobs/%s/%d", instance, d.GetHash(), d.GetSizeBytes()),
	})
	if err != nil {
		return 0, err
	}
	var n int64
	for {
		reply, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("read a stream: %w", err)
		}
		n += int64(len(reply.GetData()))
	}
	if n != d.GetSizeBytes() {
		return 0, fmt.Errorf("read a stream: %d bytes of %d", n, d.GetSizeBytes())
	}
	return time.Since(began), nil
}
