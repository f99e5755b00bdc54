package reapi

import (
	"context"
	"errors"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Bounds on one message of GetTree, and on one reading of the store.
const (
	maxTreeDirectories = 1000
	maxTreeBytes       = 1 << 20
	treeReadAhead      = 64
)

// GetTree streams the directories beneath a root, breadth first, root first, each
// distinct one once (REAPI, ContentAddressableStorage.GetTree). Directories that
// are missing are left out, with what is only beneath them; a missing root is
// NOT_FOUND. With page_size, the call ends after that many directories, and its
// last message says with next_page_token where to go on; without, it sends all,
// in several messages. A root that is no Directory is INVALID_ARGUMENT, one
// further down FAILED_PRECONDITION.
func (c *casService) GetTree(req *repb.GetTreeRequest, stream repb.ContentAddressableStorage_GetTreeServer) error {
	if _, err := c.instances.resolve(req.GetInstanceName()); err != nil {
		return err
	}
	root, err := digestOf("root_digest", req.GetDigestFunction(), req.GetRootDigest())
	if err != nil {
		return err
	}
	if req.GetPageSize() < 0 {
		return invalidField("page_size", "is negative")
	}
	skip, err := parseTreeToken(req.GetPageToken(), root)
	if err != nil {
		return err
	}
	p := treePager{root: root, skip: skip, limit: int64(req.GetPageSize()), stream: stream}
	s := treeScan{store: c.store, root: root, queue: []digest.Digest{root}, seen: map[digest.Digest]struct{}{root: {}}}
	if err := s.walk(stream.Context(), p.add); err != nil {
		return err
	}
	return p.end(len(s.queue) > 0)
}

// treePager makes messages of directories.
type treePager struct {
	root   digest.Digest
	skip   int64 // directories that earlier pages had
	limit  int64 // of directories in this call; 0: none
	stream repb.ContentAddressableStorage_GetTreeServer

	seen    int64 // directories so far, with those skipped
	sent    int64
	message repb.GetTreeResponse
	bytes   int64 // in message
}

// add takes a directory; more is false when the call has had its limit.
func (p *treePager) add(dir *repb.Directory, size int64) (more bool, err error) {
	if p.seen++; p.seen <= p.skip {
		return true, nil
	}
	if n := len(p.message.Directories); n > 0 && (n == maxTreeDirectories || p.bytes+size > maxTreeBytes) {
		if err := p.send(); err != nil {
			return false, err
		}
	}
	p.message.Directories = append(p.message.Directories, dir)
	p.bytes += size
	p.sent++
	return p.limit == 0 || p.sent < p.limit, nil
}

func (p *treePager) send() error {
	err := p.stream.Send(&p.message)
	p.message, p.bytes = repb.GetTreeResponse{}, 0
	return err
}

// end sends what is left, with a token when the walk was cut short.
func (p *treePager) end(more bool) error {
	if more {
		p.message.NextPageToken = treeToken(p.root, p.seen)
	}
	return p.send()
}

// treeScan walks directories breadth first.
type treeScan struct {
	store interface {
		GetMany(ctx context.Context, ds []digest.Digest) ([][]byte, []error)
	}
	root  digest.Digest
	queue []digest.Digest // to be read, and known by seen
	seen  map[digest.Digest]struct{}
}

// walk hands each directory that is there to take, until take wants no more.
// What was not handed out stays in the queue.
func (s *treeScan) walk(ctx context.Context, take func(*repb.Directory, int64) (bool, error)) error {
	for len(s.queue) > 0 {
		n, total := 0, int64(0)
		for n < len(s.queue) && n < treeReadAhead && (n == 0 || total < maxTreeBytes) {
			if s.queue[n].Size > maxDirectoryBytes {
				return s.notDirectory(s.queue[n], fmt.Sprintf("it has %d bytes, at most %d are taken", s.queue[n].Size, maxDirectoryBytes))
			}
			total += s.queue[n].Size
			n++
		}
		group := s.queue[:n]
		data, errs := s.store.GetMany(ctx, group)
		for i, d := range group {
			s.queue = s.queue[1:]
			if errors.Is(errs[i], cas.ErrNotFound) && d != s.root {
				continue
			}
			if errors.Is(errs[i], cas.ErrNotFound) {
				return notFound(d)
			}
			if errs[i] != nil {
				return statusOf(errs[i])
			}
			dir, err := s.parse(d, data[i])
			if err != nil {
				return err
			}
			if more, err := take(dir, d.Size); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// parse reads a directory and queues those in it that are new.
func (s *treeScan) parse(d digest.Digest, data []byte) (*repb.Directory, error) {
	dir := new(repb.Directory)
	if err := proto.Unmarshal(data, dir); err != nil {
		return nil, s.notDirectory(d, "it is not a Directory message")
	}
	for _, child := range dir.GetDirectories() {
		c, err := digest.FromProto(d.Function, child.GetDigest())
		if err != nil {
			return nil, s.notDirectory(d, fmt.Sprintf("directory %s in it: %s", shorten(child.GetName()), err))
		}
		if _, again := s.seen[c]; !again {
			s.seen[c] = struct{}{}
			s.queue = append(s.queue, c)
		}
	}
	return dir, nil
}

func (s *treeScan) notDirectory(d digest.Digest, why string) error {
	if d == s.root {
		return invalidField("root_digest", fmt.Sprintf("blob %s: %s", d, why))
	}
	return status.Error(codes.FailedPrecondition, bounded(fmt.Sprintf("blob %s, which the tree has as a directory: %s", d, why)))
}
