package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// Every frame of the handshake begins with the magic, the version of the
// protocol, its type and the length of its body. The first byte is that of no
// text, no TLS record and no HTTP/2 preface.
const (
	magic      = "\x00BGRID"
	headerSize = len(magic) + 5
	maxBody    = 8 << 10
)

// Types of frames, in the order in which they are sent.
const (
	typeHello   = 1 // dialler to acceptor
	typeAnswer  = 2
	typeProof   = 3 // dialler to acceptor
	typeVerdict = 4 // by the acceptor; by the dialler instead of its proof
)

// writeFrame sends one frame in one write.
func writeFrame(w io.Writer, kind byte, m proto.Message) ([]byte, error) {
	body, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode handshake: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("encode handshake: %d bytes, at most %d", len(body), maxBody)
	}
	frame := make([]byte, 0, headerSize+len(body))
	frame = append(frame, magic...)
	frame = binary.BigEndian.AppendUint16(frame, Protocol)
	frame = append(frame, kind)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(body)))
	if _, err := w.Write(append(frame, body...)); err != nil {
		return nil, err
	}
	return body, nil
}

// readFrame reads one frame and no byte beyond it. ErrNotPeer as soon as the first
// bytes are not those of a peer, ErrProtocol for another version.
func readFrame(r io.Reader) (kind byte, body []byte, err error) {
	var header [headerSize]byte
	// One byte first: whoever speaks another protocol may send fewer than a header
	// and wait for an answer.
	if _, err := io.ReadFull(r, header[:1]); err != nil {
		return 0, nil, err
	}
	if header[0] != magic[0] {
		return 0, nil, ErrNotPeer
	}
	if _, err := io.ReadFull(r, header[1:]); err != nil {
		return 0, nil, truncated(err)
	}
	if string(header[:len(magic)]) != magic {
		return 0, nil, ErrNotPeer
	}
	rest := header[len(magic):]
	if v := binary.BigEndian.Uint16(rest); v != Protocol {
		return 0, nil, fmt.Errorf("%w: version %d there, %d here", ErrProtocol, v, Protocol)
	}
	n := int(binary.BigEndian.Uint16(rest[3:]))
	if n > maxBody {
		return 0, nil, fmt.Errorf("%w: a handshake of %d bytes, at most %d", ErrNotPeer, n, maxBody)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, truncated(err)
	}
	return rest[2], body, nil
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// receive reads one frame of the type wanted into m.
func receive(r io.Reader, want byte, m proto.Message) ([]byte, error) {
	kind, body, err := readFrame(r)
	if err != nil {
		return nil, err
	}
	if kind == typeVerdict && want != typeVerdict {
		return nil, verdictError(body)
	}
	if kind != want {
		return nil, fmt.Errorf("%w: frame of type %d, want %d", ErrNotPeer, kind, want)
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotPeer, err)
	}
	return body, nil
}
