package reapi

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// null answers from memory, by the generated code and grpc-go's codec: the floor.
type null struct {
	repb.UnimplementedContentAddressableStorageServer
	repb.UnimplementedActionCacheServer
	bspb.UnimplementedByteStreamServer
	buffer []byte
}

func (n *null) FindMissingBlobs(_ context.Context, req *repb.FindMissingBlobsRequest) (*repb.FindMissingBlobsResponse, error) {
	return &repb.FindMissingBlobsResponse{MissingBlobDigests: req.GetBlobDigests()[len(req.GetBlobDigests())/2:]}, nil
}

func (n *null) BatchUpdateBlobs(_ context.Context, req *repb.BatchUpdateBlobsRequest) (*repb.BatchUpdateBlobsResponse, error) {
	reply := &repb.BatchUpdateBlobsResponse{}
	for _, r := range req.GetRequests() {
		reply.Responses = append(reply.Responses, &repb.BatchUpdateBlobsResponse_Response{Digest: r.GetDigest(), Status: &statuspb.Status{}})
	}
	return reply, nil
}

func (n *null) BatchReadBlobs(_ context.Context, req *repb.BatchReadBlobsRequest) (*repb.BatchReadBlobsResponse, error) {
	reply := &repb.BatchReadBlobsResponse{}
	for _, d := range req.GetDigests() {
		reply.Responses = append(reply.Responses, &repb.BatchReadBlobsResponse_Response{Digest: d, Data: n.buffer[:d.GetSizeBytes()], Status: &statuspb.Status{}})
	}
	return reply, nil
}

func (n *null) GetActionResult(context.Context, *repb.GetActionResultRequest) (*repb.ActionResult, error) {
	return sampleResult(), nil
}

func (n *null) Write(stream bspb.ByteStream_WriteServer) error {
	size := int64(0)
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&bspb.WriteResponse{CommittedSize: size})
		}
		if err != nil {
			return err
		}
		size += int64(len(req.GetData()))
	}
}

func (n *null) Read(_ *bspb.ReadRequest, stream bspb.ByteStream_ReadServer) error {
	for range 64 {
		if err := stream.Send(&bspb.ReadResponse{Data: n.buffer}); err != nil {
			return err
		}
	}
	return nil
}

func sampleResult() *repb.ActionResult {
	d := digest.Of(digest.SHA256, []byte("out")).Proto()
	return &repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "out/a", Digest: d}, {Path: "out/b", Digest: d}}, StdoutDigest: d}
}

// overTCP serves on loopback and returns a connection.
func overTCP(b *testing.B, gs *grpc.Server) *grpc.ClientConn {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = gs.Serve(l) }()
	b.Cleanup(gs.Stop)
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(8<<20), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

// reportCPU reports the processor time of client and server for each call, which
// holds on a busy machine too.
func reportCPU(b *testing.B) func() {
	used := func() int64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/1e3/float64(b.N), "cpu-µs/op") }
}

// BenchmarkServices compares each call with the floor: go test -bench Services.
func BenchmarkServices(b *testing.B) {
	options := ServerOptions()[1:] // without the codec
	gs := grpc.NewServer(options...)
	n := &null{buffer: noise(1<<20, 1)}
	repb.RegisterContentAddressableStorageServer(gs, n)
	repb.RegisterActionCacheServer(gs, n)
	bspb.RegisterByteStreamServer(gs, n)
	g := newSizedGrid(b, 8<<30)
	real := grpc.NewServer(ServerOptions()...)
	if err := Register(real, Options{Instance: "main", CAS: g.store, Results: g.results, Scheduler: g.scheduler, Proposer: noProposer{}}); err != nil {
		b.Fatal(err)
	}
	conns := map[string]*grpc.ClientConn{"floor": overTCP(b, gs), "served": overTCP(b, real)}

	var some []*repb.Digest
	var contents [][]byte
	for i := range 64 {
		contents = append(contents, noise(16<<10, byte(i)))
	}
	for _, d := range g.put(b, contents...) {
		some = append(some, d.Proto())
	}
	find := &repb.FindMissingBlobsRequest{InstanceName: "main", BlobDigests: some[:50]}
	for i := range 50 {
		find.BlobDigests = append(find.BlobDigests, digest.Of(digest.SHA256, fmt.Append(nil, i)).Proto())
	}
	update := &repb.BatchUpdateBlobsRequest{InstanceName: "main"}
	for i, d := range some {
		update.Requests = append(update.Requests, &repb.BatchUpdateBlobsRequest_Request{Digest: d, Data: contents[i]})
	}
	read := &repb.BatchReadBlobsRequest{InstanceName: "main", Digests: some}
	action := digest.Of(digest.SHA256, []byte("action"))
	g.put(b, []byte("out"))
	if _, err := g.update(b, action, sampleResult()); err != nil {
		b.Fatal(err)
	}
	get := &repb.GetActionResultRequest{InstanceName: "main", ActionDigest: action.Proto()}
	large := g.put(b, noise(64<<20, 9))[0]

	for name, call := range map[string]func(context.Context, *grpc.ClientConn) error{
		"FindMissing": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := repb.NewContentAddressableStorageClient(c).FindMissingBlobs(ctx, find)
			return err
		},
		"BatchUpdateOfKnown": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := repb.NewContentAddressableStorageClient(c).BatchUpdateBlobs(ctx, update)
			return err
		},
		"BatchRead": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := repb.NewContentAddressableStorageClient(c).BatchReadBlobs(ctx, read)
			return err
		},
		"GetActionResult": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := repb.NewActionCacheClient(c).GetActionResult(ctx, get)
			return err
		},
		"Read64MiB": func(ctx context.Context, c *grpc.ClientConn) error {
			stream, err := bspb.NewByteStreamClient(c).Read(ctx, &bspb.ReadRequest{ResourceName: digest.ReadName("main", large)})
			for err == nil {
				_, err = stream.Recv()
			}
			if err == io.EOF {
				return nil
			}
			return err
		},
	} {
		for _, kind := range []string{"floor", "served"} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				defer reportCPU(b)()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := call(b.Context(), conns[kind]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
	for _, kind := range []string{"floor", "served"} {
		b.Run("Write8MiB/"+kind, func(b *testing.B) {
			data := noise(8<<20, 11)
			b.SetBytes(int64(len(data)))
			defer reportCPU(b)()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				copy(data, fmt.Sprint(kind, i, b.N))
				d := digest.Of(digest.SHA256, data)
				b.StartTimer()
				stream, err := bspb.NewByteStreamClient(conns[kind]).Write(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				for _, req := range parts(digest.UploadName("main", uuid.NewString(), d), data, 0, 1<<20) {
					if err := stream.Send(req); err != nil {
						break
					}
				}
				if reply, err := stream.CloseAndRecv(); err != nil || reply.GetCommittedSize() != int64(len(data)) {
					b.Fatal(reply, err)
				}
			}
		})
	}
}
