package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Limits on trees that come from outside.
const (
	maxDirectories = 1 << 20   // distinct Directory messages
	maxDirectory   = 256 << 20 // bytes of one Directory or Tree message
	maxTree        = 1 << 30   // bytes of all of them
)

// Directories is a set of Directory messages, each under the digest of its bytes.
type Directories map[digest.Digest]*repb.Directory

// GetTree returns every Directory beneath root, by GetTree, or one by one from
// servers without it. All are verified against their digests. A missing one is
// ErrNotFound, a blob that is no Directory ErrMalformed.
func (c *Client) GetTree(ctx context.Context, root digest.Digest) (Directories, error) {
	dirs := Directories{}
	err := c.getTree(ctx, root, dirs)
	switch status.Code(err) {
	case codes.OK, codes.Unimplemented, codes.NotFound:
	case codes.InvalidArgument, codes.FailedPrecondition, codes.Internal:
		// Servers differ in what they make of a blob that is no Directory: see for
		// ourselves.
	default:
		if errors.Is(err, ErrMalformed) {
			return nil, err
		}
		return nil, c.explain("get tree "+root.String(), err)
	}
	// What the stream left out, or what it re-encoded so that it matches no digest.
	if err := c.complete(ctx, root, dirs); err != nil {
		return nil, err
	}
	if !isDirectory(root, dirs[root]) {
		return nil, fmt.Errorf("%w: %s is not a Directory", ErrMalformed, root)
	}
	return dirs, nil
}

// getTree reads the stream; one that breaks goes on at the last page.
func (c *Client) getTree(ctx context.Context, root digest.Digest, dirs Directories) error {
	if root.IsEmpty() {
		return nil
	}
	req := &repb.GetTreeRequest{InstanceName: c.instance, RootDigest: root.Proto(), DigestFunction: c.fn.Proto()}
	b, room := c.backoff(), int64(maxTree)
	for {
		err := c.getPages(ctx, req, dirs, b, &room)
		if err == nil || errors.Is(err, ErrMalformed) {
			return err
		}
		if err := b.wait(ctx, err); err != nil {
			return err
		}
	}
}

func (c *Client) getPages(ctx context.Context, req *repb.GetTreeRequest, dirs Directories, b *backoff, room *int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.cas.GetTree(ctx, req)
	if err != nil {
		return err
	}
	for {
		page, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		c.heard(err)
		if err != nil {
			return err
		}
		for _, dir := range page.Directories {
			s, err := MessageSource(c.fn, dir)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrMalformed, err)
			}
			dirs[s.Digest] = dir
			*room -= max(s.Digest.Size, 1)
		}
		if *room < 0 || len(dirs) > maxDirectories {
			return tooLarge(req.RootDigest.GetHash())
		}
		if page.NextPageToken != "" {
			req.PageToken = page.NextPageToken
			b.progress()
		}
	}
}

// complete fetches the directories that root needs and dirs lacks, level by level.
func (c *Client) complete(ctx context.Context, root digest.Digest, dirs Directories) error {
	limit, err := c.batchLimit(ctx)
	if err != nil {
		return err
	}
	room := maxTree - root.Size
	level, seen := []digest.Digest{root}, map[digest.Digest]bool{root: true}
	for len(level) > 0 {
		if err := c.fetchDirectories(ctx, level, limit, dirs); err != nil {
			return err
		}
		var next []digest.Digest
		for _, d := range level {
			for _, node := range dirs[d].Directories {
				child, err := digest.FromProto(c.fn, node.Digest)
				if err != nil {
					return fmt.Errorf("%w: directory %s, entry %q: %w", ErrMalformed, d, node.Name, err)
				}
				if !seen[child] {
					seen[child] = true
					next = append(next, child)
				}
			}
		}
		for _, d := range next {
			room -= d.Size
		}
		if room < 0 || len(seen) > maxDirectories {
			return tooLarge(root.Hex())
		}
		level = next
	}
	return nil
}

func tooLarge(root string) error {
	return fmt.Errorf("%w: tree %s has more than %d directories or %d bytes of them", ErrMalformed, root, maxDirectories, int64(maxTree))
}

// isDirectory tells a Directory from other content that decodes as one because
// all of it is unknown fields.
func isDirectory(d digest.Digest, dir *repb.Directory) bool {
	return d.IsEmpty() || len(dir.Files)+len(dir.Directories)+len(dir.Symlinks) > 0 || dir.NodeProperties != nil
}

// fetchDirectories adds those of ds to dirs that are not there yet.
func (c *Client) fetchDirectories(ctx context.Context, ds []digest.Digest, limit int64, dirs Directories) error {
	var lacking []digest.Digest
	for _, d := range ds {
		switch {
		case dirs[d] != nil:
		case d.IsEmpty():
			dirs[d] = &repb.Directory{}
		case d.Size > maxDirectory:
			return fmt.Errorf("%w: directory %s has more than %d bytes", ErrMalformed, d, int64(maxDirectory))
		default:
			lacking = append(lacking, d)
		}
	}
	take := func(d digest.Digest, data []byte) error {
		dir := &repb.Directory{}
		if err := proto.Unmarshal(data, dir); err != nil || !isDirectory(d, dir) {
			return fmt.Errorf("%w: %s is not a Directory", ErrMalformed, d)
		}
		dirs[d] = dir
		return nil
	}
	batches, large := pack(lacking, limit, c.batchOverhead())
	for _, batch := range batches {
		if err := c.fetchBatch(ctx, batch, take); err != nil {
			return err
		}
	}
	return c.fetchEach(ctx, large, take)
}
