package reapi

import (
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto" // registers the codec
	"google.golang.org/grpc/mem"
)

// wireReader is a message that reads itself from the wire, and may keep
// references to the buffers until it is freed. The messages that carry blobs and
// many digests do: no copies, no allocation for each digest.
type wireReader interface {
	readWire(data mem.BufferSlice, pool mem.BufferPool) error
}

// wireWriter is a message that writes itself.
type wireWriter interface {
	writeWire() mem.BufferSlice
}

// letter is a message to be read, with what went wrong with that (see receive).
type letter struct {
	to  any
	err error
}

// Message is the message to fill, for who serves a call in process: there is no
// codec on that way.
func (l *letter) Message() any { return l.to }

// codec is the protobuf codec of grpc-go, but for messages that can do better.
// It changes nothing at the wire.
type codec struct {
	protobuf encoding.CodecV2
	pool     mem.BufferPool // of messages that come in parts and are read as one
}

func newCodec(pool mem.BufferPool) codec { return codec{encoding.GetCodecV2(protocodec.Name), pool} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if w, ok := v.(wireWriter); ok {
		return w.writeWire(), nil
	}
	return c.protobuf.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if l, ok := v.(*letter); ok {
		l.err = c.Unmarshal(data, l.to)
		return nil
	}
	if r, ok := v.(wireReader); ok {
		return r.readWire(data, c.pool)
	}
	return c.protobuf.Unmarshal(data, v)
}

// Name implements encoding.CodecV2.
func (codec) Name() string { return protocodec.Name }
