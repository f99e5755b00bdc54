package runners

import (
	"context"
	"errors"
	"fmt"
	"io"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

const (
	// maxBatch bounds the bytes of one GetMany or PutMany.
	maxBatch = 4 << 20
	// maxBatchBlobs bounds the blobs of one GetMany or PutMany.
	maxBatchBlobs = 256
	// maxMessage bounds an Action, Command or Directory in bytes.
	maxMessage = 64 << 20
)

// inputs is all that is known of an action before anything is laid out.
type inputs struct {
	action     *repb.Action
	command    *command
	rootDigest digest.Digest
	tree       *inputTree
}

// fetchInputs reads the action, its command and all directories of its input
// root. Missing blobs are a *MissingError, malformed ones a *Failure.
func (w *Worker) fetchInputs(ctx context.Context, l *Lease) (*inputs, error) {
	data := l.ActionBytes
	if data == nil {
		blobs, err := w.getMany(ctx, []digest.Digest{l.Action})
		if err != nil {
			return nil, fmt.Errorf("fetch action: %w", err)
		}
		data = blobs[0]
	}
	in := &inputs{action: &repb.Action{}}
	if err := proto.Unmarshal(data, in.action); err != nil {
		return nil, Invalid("action %s is not an Action message", l.Action)
	}
	commandDigest, err := digest.FromProto(l.Action.Function, in.action.CommandDigest)
	if err != nil {
		return nil, Invalid("action.command_digest: %v", err)
	}
	root, err := digest.FromProto(l.Action.Function, in.action.InputRootDigest)
	if err != nil {
		return nil, Invalid("action.input_root_digest: %v", err)
	}
	in.rootDigest = root
	rootDir, known := w.knownDirectory(root)
	want := []digest.Digest{commandDigest}
	if !known {
		want = append(want, root)
	}
	blobs, err := w.getMany(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("fetch command and input root: %w", err)
	}
	if in.command, err = parseCommand(commandDigest, blobs[0]); err != nil {
		return nil, err
	}
	if !known {
		if rootDir, err = w.learnDirectory(root, blobs[1]); err != nil {
			return nil, err
		}
	}
	in.tree, err = w.loadTree(ctx, rootDir)
	return in, err
}

// getMany is Blobs.GetMany for any number of messages of up to maxMessage bytes.
// Every missing one is named.
func (w *Worker) getMany(ctx context.Context, ds []digest.Digest) ([][]byte, error) {
	out := make([][]byte, len(ds))
	var missing []digest.Digest
	for start := 0; start < len(ds); {
		end, bytes := start, int64(0)
		for end < len(ds) && end-start < maxBatchBlobs && (end == start || bytes+ds[end].Size <= maxBatch) {
			bytes += ds[end].Size
			end++
		}
		// One that is too large for GetMany goes alone.
		got, err := w.getBatch(ctx, ds[start:end])
		if lost, ok := errors.AsType[*MissingError](err); ok {
			missing = append(missing, lost.Digests...)
		} else if err != nil {
			return nil, err
		}
		copy(out[start:], got)
		start = end
	}
	if len(missing) > 0 {
		return nil, &MissingError{Digests: missing}
	}
	return out, nil
}

func (w *Worker) getBatch(ctx context.Context, ds []digest.Digest) ([][]byte, error) {
	var small []digest.Digest
	for _, d := range ds {
		if d.Size <= MaxSmallBlob {
			small = append(small, d)
		}
	}
	var got [][]byte
	if len(small) > 0 {
		var err error
		if got, err = w.blobs.GetMany(ctx, small); err != nil {
			return nil, err
		}
		if len(got) != len(small) {
			return nil, fmt.Errorf("get blobs: %d came of %d", len(got), len(small))
		}
	}
	out := make([][]byte, len(ds))
	for i, d := range ds {
		if d.Size > MaxSmallBlob {
			b, err := w.readAll(ctx, d)
			if err != nil {
				return nil, err
			}
			out[i] = b
			continue
		}
		out[i], got = got[0], got[1:]
		if int64(len(out[i])) != d.Size {
			return nil, fmt.Errorf("get blob %s: %d bytes came", d, len(out[i]))
		}
	}
	return out, nil
}

// readAll reads a large message.
func (w *Worker) readAll(ctx context.Context, d digest.Digest) ([]byte, error) {
	if d.Size > maxMessage {
		return nil, Invalid("message %s is larger than %d bytes", d, maxMessage)
	}
	r, err := w.blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, d.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	return b, nil
}
