package reapi

import (
	"errors"
	"fmt"
	"math/bits"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// errWire says that bytes are no protobuf message of the expected type.
var errWire = errors.New("malformed message")

// body is the memory of a message that refers to it. The zero body is empty.
type body struct{ buffer mem.Buffer }

// hold keeps the bytes of a message, in one piece, until free.
func (b *body) hold(data mem.BufferSlice, pool mem.BufferPool) []byte {
	b.free()
	b.buffer = data.MaterializeToBuffer(pool)
	return b.buffer.ReadOnlyData()
}

// free gives the memory back. Nothing that was read from it may be used after.
func (b *body) free() {
	if b.buffer != nil {
		b.buffer.Free()
		b.buffer = nil
	}
}

// field is one field of a message in wire format.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte // of kind BytesType
	varint uint64 // of kind VarintType
}

// eachField hands the fields of a message to take, which returns an error or nil.
// Fields of other wire types than these two are skipped, as unknown fields are.
func eachField(b []byte, take func(f *field) error) error {
	var f field
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errWire, protowire.ParseError(n))
		}
		if number > protowire.MaxValidNumber {
			return fmt.Errorf("%w: field number %d", errWire, number)
		}
		b = b[n:]
		f.number, f.kind, f.bytes, f.varint = number, kind, nil, 0
		switch kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errWire, number, protowire.ParseError(n))
		}
		b = b[n:]
		if err := take(&f); err != nil {
			return err
		}
	}
	return nil
}

// is tells whether f is the field of that number and wire type.
func (f *field) is(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

// read reads a Digest{hash 1, size_bytes 2}, over what r holds already, as
// protobuf merges messages.
func (r *rawDigest) read(b []byte) error {
	r.set = true
	// The form that all clients send, without further ado.
	if len(b) > 67 && b[0] == 1<<3|2 && b[1] == 64 && b[66] == 2<<3 {
		if v, n := protowire.ConsumeVarint(b[67:]); n == len(b)-67 {
			r.hash, r.size = b[2:66], int64(v)
			return nil
		}
	}
	return eachField(b, func(f *field) error {
		if f.is(1, protowire.BytesType) {
			r.hash = f.bytes
		} else if f.is(2, protowire.VarintType) {
			r.size = int64(f.varint)
		}
		return nil
	})
}

// Sizes of what is written by hand.

func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// bytesLen is the size of a length-delimited field with a tag of one byte.
func bytesLen(n int) int { return 1 + varintLen(uint64(n)) + n }

// digestLen is the size of a Digest message with such a hash and size.
func digestLen(hash int, size int64) int {
	n := 0
	if hash > 0 {
		n += bytesLen(hash)
	}
	if size != 0 {
		n += 1 + varintLen(uint64(size))
	}
	return n
}

// newBuffer returns an empty slice of the pool, of the capacity, and what makes a
// Buffer of it once it is filled.
func newBuffer(capacity int) (data []byte, done func([]byte) mem.Buffer) {
	pool := mem.DefaultBufferPool()
	p := pool.Get(capacity)
	return (*p)[:0], func(data []byte) mem.Buffer {
		*p = data
		return mem.NewBuffer(p, pool)
	}
}
