package client

import (
	"context"
	"strconv"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func (f *fake) FindMissingBlobs(_ context.Context, req *repb.FindMissingBlobsRequest) (*repb.FindMissingBlobsResponse, error) {
	reply := &repb.FindMissingBlobsResponse{}
	for _, p := range req.BlobDigests {
		d, err := digest.FromProto(digest.SHA256, p)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		if _, ok := f.get(d); !ok {
			reply.MissingBlobDigests = append(reply.MissingBlobDigests, p)
		}
	}
	return reply, nil
}

func (f *fake) BatchUpdateBlobs(_ context.Context, req *repb.BatchUpdateBlobsRequest) (*repb.BatchUpdateBlobsResponse, error) {
	if f.noBatch {
		return nil, status.Error(codes.Unimplemented, "no batches")
	}
	f.mu.Lock()
	f.batches = append(f.batches, proto.Size(req))
	f.mu.Unlock()
	reply := &repb.BatchUpdateBlobsResponse{}
	for _, r := range req.Requests {
		d, err := digest.FromProto(digest.SHA256, r.Digest)
		if err == nil && digest.Of(digest.SHA256, r.Data) != d {
			err = status.Error(codes.InvalidArgument, "Data does not match hash")
		}
		if err == nil {
			err = f.nameBlob(d)
		}
		if err == nil {
			f.put(r.Data)
		}
		reply.Responses = append(reply.Responses, &repb.BatchUpdateBlobsResponse_Response{Digest: r.Digest, Status: status.Convert(err).Proto()})
	}
	return reply, nil
}

func (f *fake) nameBlob(d digest.Digest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.named[d]++
	if f.blobFault == nil {
		return nil
	}
	return f.blobFault(d, f.named[d])
}

func (f *fake) BatchReadBlobs(_ context.Context, req *repb.BatchReadBlobsRequest) (*repb.BatchReadBlobsResponse, error) {
	if f.noBatch {
		return nil, status.Error(codes.Unimplemented, "no batches")
	}
	reply := &repb.BatchReadBlobsResponse{}
	for _, p := range req.Digests {
		d, err := digest.FromProto(digest.SHA256, p)
		if err == nil {
			err = f.nameBlob(d)
		}
		data, ok := f.get(d)
		if err == nil && !ok {
			err = status.Error(codes.NotFound, "no such blob")
		}
		reply.Responses = append(reply.Responses, &repb.BatchReadBlobsResponse_Response{Digest: p, Data: data, Status: status.Convert(err).Proto()})
	}
	return reply, nil
}

// GetTree pages with the number of directories sent before as the token.
func (f *fake) GetTree(req *repb.GetTreeRequest, s repb.ContentAddressableStorage_GetTreeServer) error {
	if f.noTree {
		return status.Error(codes.Unimplemented, "no trees")
	}
	root, err := digest.FromProto(digest.SHA256, req.RootDigest)
	if err != nil {
		return err
	}
	queue, all, seen := []digest.Digest{root}, []*repb.Directory(nil), map[digest.Digest]bool{}
	for ; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		data, ok := f.get(queue[0])
		if !ok && queue[0] == root {
			return status.Error(codes.NotFound, "no such root")
		}
		dir := &repb.Directory{}
		if !ok || proto.Unmarshal(data, dir) != nil {
			continue
		}
		all = append(all, dir)
		for _, n := range dir.Directories {
			if d, err := digest.FromProto(digest.SHA256, n.Digest); err == nil {
				queue = append(queue, d)
			}
		}
	}
	at, _ := strconv.Atoi(req.PageToken)
	for at < len(all) {
		n := len(all) - at
		if f.pageSize > 0 {
			n = min(n, f.pageSize)
		}
		page := &repb.GetTreeResponse{Directories: all[at : at+n]}
		if at += n; at < len(all) {
			page.NextPageToken = strconv.Itoa(at)
		}
		if err := s.Send(page); err != nil {
			return err
		}
		if err := f.called("GetTreePage"); err != nil {
			return err
		}
	}
	return nil
}

func take(cuts *[]int64) (int64, bool) {
	if len(*cuts) == 0 {
		return 0, false
	}
	cut := (*cuts)[0]
	*cuts = (*cuts)[1:]
	return cut, true
}

func (f *fake) Read(req *bytestream.ReadRequest, s bytestream.ByteStream_ReadServer) error {
	name, err := digest.ParseRead(req.ResourceName)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	data, ok := f.get(name.Digest)
	if !ok {
		return status.Error(codes.NotFound, "no such blob")
	}
	f.mu.Lock()
	cut, breaks := take(&f.cutReads)
	f.starts = append(f.starts, req.ReadOffset)
	f.mu.Unlock()
	data = data[req.ReadOffset:]
	for sent := int64(0); len(data) > 0; {
		n := min(len(data), 64<<10)
		if breaks && sent+int64(n) > cut {
			return errAway
		}
		if err := s.Send(&bytestream.ReadResponse{Data: data[:n]}); err != nil {
			return err
		}
		data, sent = data[n:], sent+int64(n)
	}
	return nil
}

func (f *fake) Write(s bytestream.ByteStream_WriteServer) error {
	f.mu.Lock()
	cut, breaks := take(&f.cutWrites)
	f.mu.Unlock()
	name, taken := "", int64(0)
	for {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		f.mu.Lock()
		if name == "" {
			name = req.ResourceName
			f.starts = append(f.starts, req.WriteOffset)
		}
		have := f.partial[name]
		if int64(len(have)) != req.WriteOffset {
			f.mu.Unlock()
			return status.Errorf(codes.InvalidArgument, "write at %d, have %d", req.WriteOffset, len(have))
		}
		f.partial[name] = append(have, req.Data...)
		f.received += int64(len(req.Data))
		whole := f.partial[name]
		f.mu.Unlock()
		taken += int64(len(req.Data))
		if breaks && taken >= cut {
			return errAway
		}
		if req.FinishWrite {
			return f.commit(s, name, whole)
		}
	}
}

func (f *fake) commit(s bytestream.ByteStream_WriteServer, name string, data []byte) error {
	resource, err := digest.ParseUpload(name)
	if err != nil || digest.Of(digest.SHA256, data) != resource.Digest {
		return status.Error(codes.InvalidArgument, "Data does not match hash")
	}
	f.put(data)
	return s.SendAndClose(&bytestream.WriteResponse{CommittedSize: int64(len(data))})
}

func (f *fake) QueryWriteStatus(_ context.Context, req *bytestream.QueryWriteStatusRequest) (*bytestream.QueryWriteStatusResponse, error) {
	if f.noStatus {
		return nil, status.Error(codes.Unimplemented, "no status")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	have, ok := f.partial[req.ResourceName]
	if !ok {
		return nil, status.Error(codes.NotFound, "no such upload")
	}
	resource, err := digest.ParseUpload(req.ResourceName)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	_, complete := f.blobs[resource.Digest]
	return &bytestream.QueryWriteStatusResponse{CommittedSize: int64(len(have)), Complete: complete}, nil
}
