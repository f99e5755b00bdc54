package actioncache

import (
	"context"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// maxActionBytes bounds an Action, which is a few hundred bytes.
const maxActionBytes = 1 << 20

// Protect keeps an action, its command, its input root and the chroot that it may
// name from eviction for one protection window from now. The error says what is missing; everything else is
// protected all the same.
func (s *Store) Protect(ctx context.Context, action digest.Digest) error {
	if action.Size > maxActionBytes {
		return fmt.Errorf("protect action %s: %w: at most %d bytes are taken", action, ErrMalformed, maxActionBytes)
	}
	data, err := s.blobs.Get(ctx, action)
	if err != nil {
		return fmt.Errorf("protect action %s: %w", action, err)
	}
	var a repb.Action
	if err := proto.Unmarshal(data, &a); err != nil {
		return fmt.Errorf("protect action %s: %w: not an Action: %w", action, ErrMalformed, err)
	}
	command, err := digest.FromProto(action.Function, a.GetCommandDigest())
	if err != nil {
		return fmt.Errorf("protect action %s: %w: its command: %w", action, ErrMalformed, err)
	}
	root, err := digest.FromProto(action.Function, a.GetInputRootDigest())
	if err != nil {
		return fmt.Errorf("protect action %s: %w: its input root: %w", action, ErrMalformed, err)
	}
	missing, err := s.blobs.FindMissing(ctx, []digest.Digest{command})
	if err != nil {
		return fmt.Errorf("protect action %s: %w", action, err)
	}
	more, err := s.InputRoot(ctx, root)
	if err != nil {
		return fmt.Errorf("protect action %s: %w", action, err)
	}
	missing = append(missing, more...)
	if chroot, ok := s.chrootOf(ctx, &a, command); ok {
		more, err := s.InputRoot(ctx, chroot)
		if err != nil {
			return fmt.Errorf("protect chroot of action %s: %w", action, err)
		}
		missing = append(missing, more...)
	}
	if len(missing) > 0 {
		return fmt.Errorf("protect action %s: %d of its blobs are missing, the first is %s", action, len(missing), missing[0])
	}
	return nil
}

// chrootProperty is the platform property that names a tree beside the input root.
const chrootProperty = "chrootRootDigest"

// chrootOf returns the chroot that an action names, in the Action or, without
// properties there, in its Command.
func (s *Store) chrootOf(ctx context.Context, a *repb.Action, command digest.Digest) (digest.Digest, bool) {
	platform := a.GetPlatform()
	if platform == nil {
		var c repb.Command
		data, err := s.blobs.Get(ctx, command)
		if err != nil || proto.Unmarshal(data, &c) != nil {
			return digest.Digest{}, false
		}
		platform = c.GetPlatform()
	}
	for _, p := range platform.GetProperties() {
		if p.GetName() == chrootProperty {
			d, err := digest.Parse(p.GetValue())
			return d, err == nil
		}
	}
	return digest.Digest{}, false
}
