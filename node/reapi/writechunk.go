package reapi

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// writeChunk is a WriteRequest{resource_name 1, write_offset 2, finish_write 3,
// data 10}. Its data stays in the buffers it was received into: it may be in many
// parts, and holds until the message is read again or freed.
type writeChunk struct {
	held   mem.BufferSlice
	name   string
	offset int64
	finish bool
	data   [][]byte
	size   int // of data in bytes
}

// longestName bounds in bytes what is read of a resource name; what is parsed is
// shorter still.
const longestName = 8 << 10

func (m *writeChunk) free() {
	m.held.Free()
	m.held, m.data, m.size = m.held[:0], m.data[:0], 0
}

func (m *writeChunk) readWire(data mem.BufferSlice, _ mem.BufferPool) error {
	m.free()
	m.name, m.offset, m.finish = "", 0, false
	m.held = append(m.held, data...)
	m.held.Ref()
	in := segments{rest: m.held, left: data.Len()}
	for in.left > 0 {
		tag, err := in.varint()
		if err != nil {
			return err
		}
		number, kind := protowire.DecodeTag(tag)
		if number < protowire.MinValidNumber || number > protowire.MaxValidNumber {
			return fmt.Errorf("%w: field number %d", errWire, number)
		}
		if err := m.field(&in, number, kind); err != nil {
			return fmt.Errorf("field %d: %w", number, err)
		}
	}
	return nil
}

func (m *writeChunk) field(in *segments, number protowire.Number, kind protowire.Type) error {
	switch kind {
	case protowire.VarintType:
		v, err := in.varint()
		switch number {
		case 2:
			m.offset = int64(v)
		case 3:
			m.finish = v != 0
		}
		return err
	case protowire.BytesType:
		n, err := in.varint()
		if err != nil {
			return err
		}
		if n > uint64(in.left) {
			return fmt.Errorf("%w: it ends early", errWire)
		}
		switch number {
		case 1:
			m.name, err = in.text(int(n))
		case 10:
			m.data, m.size = in.cut(m.data[:0], int(n)), int(n)
		default:
			in.skip(int(n))
		}
		return err
	case protowire.Fixed32Type, protowire.Fixed64Type:
		n := 4
		if kind == protowire.Fixed64Type {
			n = 8
		}
		if n > in.left {
			return fmt.Errorf("%w: it ends early", errWire)
		}
		in.skip(n)
		return nil
	}
	return fmt.Errorf("%w: wire type %d", errWire, kind)
}

// segments reads a message that lies in several buffers.
type segments struct {
	rest mem.BufferSlice // after here
	here []byte
	left int // bytes in here and rest
}

// fill makes here not empty; the caller knows that something is left.
func (s *segments) fill() {
	for len(s.here) == 0 {
		s.here, s.rest = s.rest[0].ReadOnlyData(), s.rest[1:]
	}
}

func (s *segments) varint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 7*binary.MaxVarintLen64; shift += 7 {
		if s.left == 0 {
			return 0, fmt.Errorf("%w: it ends early", errWire)
		}
		s.fill()
		b := s.here[0]
		s.here, s.left = s.here[1:], s.left-1
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: a number of more than 64 bits", errWire)
}

// cut appends the next n bytes to parts, where they lie. There must be as many.
func (s *segments) cut(parts [][]byte, n int) [][]byte {
	s.left -= n
	for n > 0 {
		s.fill()
		k := min(n, len(s.here))
		parts = append(parts, s.here[:k:k])
		s.here, n = s.here[k:], n-k
	}
	return parts
}

func (s *segments) skip(n int) {
	s.left -= n
	for n > 0 {
		s.fill()
		k := min(n, len(s.here))
		s.here, n = s.here[k:], n-k
	}
}

// text returns the next n bytes as a string.
func (s *segments) text(n int) (string, error) {
	if n > longestName {
		return "", fmt.Errorf("%w: longer than %d bytes", errWire, longestName)
	}
	b := make([]byte, 0, n)
	for _, part := range s.cut(nil, n) {
		b = append(b, part...)
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%w: not UTF-8", errWire)
	}
	return string(b), nil
}
