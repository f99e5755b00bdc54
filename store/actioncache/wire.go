package actioncache

import (
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// wireDigest is a Digest as it comes; its hash lies in what is parsed.
type wireDigest struct {
	set  bool
	hash []byte
	size int64
}

// merge reads a Digest over d, as protobuf has it for a field that comes twice.
func (d *wireDigest) merge(data []byte) error {
	d.set = true
	for len(data) > 0 {
		num, typ, n, err := consumeTag(data)
		if err != nil {
			return err
		}
		data = data[n:]
		switch {
		case num == 1 && typ == protowire.BytesType:
			if d.hash, n = protowire.ConsumeBytes(data); n >= 0 {
				if err := checkUTF8(d.hash); err != nil {
					return err
				}
			}
		case num == 2 && typ == protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(data)
			d.size = int64(v)
		default:
			n = protowire.ConsumeFieldValue(num, typ, data)
		}
		if n < 0 {
			return wireError(n)
		}
		data = data[n:]
	}
	return nil
}

func (d *wireDigest) digest(fn digest.Function) (digest.Digest, error) {
	if !d.set {
		return digest.FromProto(fn, nil)
	}
	if len(d.hash) == 0 && d.size == 0 {
		return fn.Empty(), nil
	}
	return digest.New(fn, unsafe.String(unsafe.SliceData(d.hash), len(d.hash)), d.size) // which keeps nothing of it
}

var errWire = errors.New("the message is damaged")

func wireError(n int) error { return fmt.Errorf("%w: %w", errWire, protowire.ParseError(n)) }

// consumeTag is protowire.ConsumeTag, which lets numbers pass that no field can
// have and the protobuf library refuses.
func consumeTag(data []byte) (protowire.Number, protowire.Type, int, error) {
	num, typ, n := protowire.ConsumeTag(data)
	if n < 0 {
		return 0, 0, 0, wireError(n)
	}
	if num > protowire.MaxValidNumber {
		return 0, 0, 0, fmt.Errorf("%w: field number %d", errWire, num)
	}
	return num, typ, n, nil
}

func checkUTF8(s []byte) error {
	if !utf8.Valid(s) {
		return fmt.Errorf("%w: a string is not UTF-8", errWire)
	}
	return nil
}

func checkProperties(data []byte) error {
	if err := proto.Unmarshal(data, new(repb.NodeProperties)); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	return nil
}

// fields hands each field of a message that has a length to visit, and skips the
// others.
func fields(data []byte, visit func(protowire.Number, []byte) error) error {
	for len(data) > 0 {
		num, typ, n, err := consumeTag(data)
		if err != nil {
			return err
		}
		data = data[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
				return wireError(n)
			}
			data = data[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return wireError(n)
		}
		if err := visit(num, value); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
