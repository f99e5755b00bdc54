package reapi

import (
	"bytes"
	"errors"
	"io"

	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/logstream"
)

// hubOf returns a connection to the node whose hub has a log stream; nil when it is
// this one's.
func (s *byteStream) hubOf(name string) (grpc.ClientConnInterface, error) {
	if s.elsewhere == nil {
		return nil, nil
	}
	conn, err := s.elsewhere(logstream.NodeOf(name))
	return conn, statusOf(err)
}

// readElsewhere passes on what another node reads.
func readElsewhere(conn grpc.ClientConnInterface, req *bspb.ReadRequest, stream grpc.ServerStream) error {
	from, err := bspb.NewByteStreamClient(conn).Read(stream.Context(), req)
	if err != nil {
		return err
	}
	for {
		m, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
}

// writeElsewhere passes the first message and all that follow on to another node.
func (w *blobUpload) writeElsewhere(conn grpc.ClientConnInterface) (int64, error) {
	to, err := bspb.NewByteStreamClient(conn).Write(w.ctx)
	if err != nil {
		return 0, err
	}
	for {
		err := to.Send(&bspb.WriteRequest{
			ResourceName: w.chunk.name, WriteOffset: w.chunk.offset, FinishWrite: w.chunk.finish, Data: bytes.Join(w.chunk.data, nil),
		})
		if errors.Is(err, io.EOF) { // it has answered already
			break
		}
		if err != nil {
			return 0, err
		}
		if err := w.receive(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, err
		}
	}
	reply, err := to.CloseAndRecv()
	return reply.GetCommittedSize(), err
}
