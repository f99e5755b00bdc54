package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// nullServer answers every call of the bench from memory: it decodes the
// request, does nothing with it, and answers with a message of the shape that a
// real server sends.
type nullServer struct {
	repb.UnimplementedContentAddressableStorageServer
	repb.UnimplementedActionCacheServer
	repb.UnimplementedExecutionServer
	bspb.UnimplementedByteStreamServer
	buffer []byte // what blobs are cut from
	result *repb.ActionResult
}

// serveNull serves until the process is killed, and writes its address to a file.
func serveNull(addressFile string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s := &nullServer{buffer: make([]byte, streamPiece), result: sampleResult(digestOf([]byte("out")), digestOf([]byte("log")))}
	for i := range s.buffer {
		s.buffer[i] = byte(i * 31)
	}
	gs := grpc.NewServer(nullOptions()...)
	repb.RegisterContentAddressableStorageServer(gs, s)
	repb.RegisterActionCacheServer(gs, s)
	repb.RegisterExecutionServer(gs, s)
	bspb.RegisterByteStreamServer(gs, s)
	if err := os.WriteFile(addressFile+".new", []byte(l.Addr().String()), 0o600); err != nil {
		return fmt.Errorf("write the address: %w", err)
	}
	if err := os.Rename(addressFile+".new", addressFile); err != nil {
		return fmt.Errorf("write the address: %w", err)
	}
	return gs.Serve(l)
}

func (s *nullServer) FindMissingBlobs(_ context.Context, req *repb.FindMissingBlobsRequest) (*repb.FindMissingBlobsResponse, error) {
	return &repb.FindMissingBlobsResponse{MissingBlobDigests: req.GetBlobDigests()[len(req.GetBlobDigests())/2:]}, nil
}

func (s *nullServer) BatchUpdateBlobs(_ context.Context, req *repb.BatchUpdateBlobsRequest) (*repb.BatchUpdateBlobsResponse, error) {
	reply := &repb.BatchUpdateBlobsResponse{Responses: make([]*repb.BatchUpdateBlobsResponse_Response, 0, len(req.GetRequests()))}
	for _, r := range req.GetRequests() {
		reply.Responses = append(reply.Responses, &repb.BatchUpdateBlobsResponse_Response{Digest: r.GetDigest(), Status: &statuspb.Status{}})
	}
	return reply, nil
}

func (s *nullServer) BatchReadBlobs(_ context.Context, req *repb.BatchReadBlobsRequest) (*repb.BatchReadBlobsResponse, error) {
	reply := &repb.BatchReadBlobsResponse{Responses: make([]*repb.BatchReadBlobsResponse_Response, 0, len(req.GetDigests()))}
	for _, d := range req.GetDigests() {
		n := min(d.GetSizeBytes(), int64(len(s.buffer)))
		reply.Responses = append(reply.Responses, &repb.BatchReadBlobsResponse_Response{Digest: d, Data: s.buffer[:n], Status: &statuspb.Status{}})
	}
	return reply, nil
}

func (s *nullServer) GetActionResult(context.Context, *repb.GetActionResultRequest) (*repb.ActionResult, error) {
	return s.result, nil
}

func (s *nullServer) UpdateActionResult(_ context.Context, req *repb.UpdateActionResultRequest) (*repb.ActionResult, error) {
	return req.GetActionResult(), nil
}

// Execute answers with one done message, as from a cache.
func (s *nullServer) Execute(req *repb.ExecuteRequest, stream repb.Execution_ExecuteServer) error {
	meta, err := anypb.New(&repb.ExecuteOperationMetadata{Stage: repb.ExecutionStage_COMPLETED, ActionDigest: req.GetActionDigest()})
	if err != nil {
		return err
	}
	response, err := anypb.New(&repb.ExecuteResponse{Result: s.result, CachedResult: true})
	if err != nil {
		return err
	}
	return stream.Send(&longrunningpb.Operation{
		Name:     instance + "/9b2e4c52-7c1b-4a34-8f8b-0d7ac3fdd4a1",
		Metadata: meta,
		Done:     true,
		Result:   &longrunningpb.Operation_Response{Response: response},
	})
}

// Write counts bytes.
func (s *nullServer) Write(stream bspb.ByteStream_WriteServer) error {
	var n int64
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&bspb.WriteResponse{CommittedSize: n})
		}
		if err != nil {
			return err
		}
		n += int64(len(req.GetData()))
	}
}

// Read sends as many bytes as the resource name says, from one buffer.
func (s *nullServer) Read(req *bspb.ReadRequest, stream bspb.ByteStream_ReadServer) error {
	name := req.GetResourceName()
	left, err := strconv.ParseInt(name[strings.LastIndexByte(name, '/')+1:], 10, 64)
	if err != nil {
		return err
	}
	for left > 0 {
		n := min(left, int64(len(s.buffer)))
		if err := stream.Send(&bspb.ReadResponse{Data: s.buffer[:n]}); err != nil {
			return err
		}
		left -= n
	}
	return nil
}
