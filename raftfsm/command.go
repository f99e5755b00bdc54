package raftfsm

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// Version is the version of the commands that this build writes and knows. It
// grows with every field, entry or meaning that is added: an older node stops at
// what it does not know, instead of going its own way.
const Version = 1

// Encode returns a command as a log carries it.
func Encode(c *commandpb.Command) ([]byte, error) {
	b, err := proto.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return b, nil
}

// Decode reads a command from a log. ErrUnknownCommand for another version, an
// entry or a field that this build does not know; ErrCorruptCommand for what is
// no command.
func Decode(b []byte) (*commandpb.Command, error) {
	c := &commandpb.Command{}
	if err := proto.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptCommand, err)
	}
	if hasUnknown(c.ProtoReflect()) {
		return nil, fmt.Errorf("%w: version %d has unknown fields", ErrUnknownCommand, c.Version)
	}
	return c, known(c)
}

// GroupVersion is the version of the groups that this build writes and knows; see
// Version.
const GroupVersion = 1

// encodeGroup returns commands as an entry of the Raft log.
func encodeGroup(cmds []*commandpb.Command) ([]byte, error) {
	b, err := proto.Marshal(&commandpb.Group{Version: GroupVersion, Commands: cmds})
	if err != nil {
		return nil, fmt.Errorf("encode group: %w", err)
	}
	return b, nil
}

// DecodeGroup reads the commands of an entry of the Raft log; errors as those of
// Decode.
func DecodeGroup(b []byte) ([]*commandpb.Command, error) {
	g := &commandpb.Group{}
	if err := proto.Unmarshal(b, g); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptCommand, err)
	}
	switch n := len(g.Commands); {
	case g.Version != GroupVersion:
		return nil, fmt.Errorf("%w: group version %d, this build knows %d", ErrUnknownCommand, g.Version, GroupVersion)
	case hasUnknown(g.ProtoReflect()):
		return nil, fmt.Errorf("%w: a group has unknown fields", ErrUnknownCommand)
	case n == 0 || n > maxGroup:
		return nil, fmt.Errorf("%w: a group of %d commands, 1 to %d are allowed", ErrCorruptCommand, n, maxGroup)
	}
	for _, c := range g.Commands {
		if err := known(c); err != nil {
			return nil, err
		}
	}
	return g.Commands, nil
}

// known refuses a command that this build cannot apply.
func known(c *commandpb.Command) error {
	if c.GetVersion() != Version {
		return fmt.Errorf("%w: version %d, this build knows %d", ErrUnknownCommand, c.GetVersion(), Version)
	}
	for i, e := range c.Entries {
		if e.GetEntry() == nil {
			return fmt.Errorf("%w: entry %d is of no known kind", ErrUnknownCommand, i)
		}
	}
	return nil
}

// hasUnknown tells whether m or a message in it has fields that this build does
// not know.
func hasUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				found = found || hasUnknown(v.List().Get(i).Message())
			}
		default:
			found = hasUnknown(v.Message())
		}
		return !found
	})
	return found
}

// namesBlobs tells whether an entry makes something durable that names blobs,
// which must be durable before.
func namesBlobs(e *commandpb.Entry) bool {
	switch e.Entry.(type) {
	case *commandpb.Entry_Submit, *commandpb.Entry_Complete, *commandpb.Entry_ActionCachePut:
		return true
	}
	return false
}
