package link

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// The handshake, D the dialler and A the acceptor:
//
//	D -> A  Hello of D, with a nonce
//	A -> D  Hello of A, with a nonce, and A's proof
//	D -> A  D's proof
//	A -> D  verdict
//
// A proof is an HMAC-SHA256 with the token over both Hellos as they were sent, and
// over which side it is from: neither can be replayed nor reflected.
const (
	roleDial   = "bgrid peer dial"
	roleAccept = "bgrid peer accept"
	nonceSize  = 32
)

// maxText bounds what is repeated of a peer's words.
const maxText = 512

func prove(token []byte, role string, dialler, acceptor []byte) []byte {
	mac := hmac.New(sha256.New, token)
	for _, part := range [][]byte{[]byte(role), dialler, acceptor} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// hello returns what this node says of itself on one connection.
func (s *Self) hello() *peerpb.Hello {
	h := s.Hello()
	h.Nonce = make([]byte, nonceSize)
	_, _ = rand.Read(h.Nonce) // never fails
	return h
}

// greet is the dialler's side. want names the node that is meant; empty: whoever
// answers.
func (s *Self) greet(rw io.ReadWriter, kind Kind, want string) (*peerpb.Hello, error) {
	mine := s.hello()
	mine.Kind, mine.WantNodeId = kind, want
	sent, err := writeFrame(rw, typeHello, mine)
	if err != nil {
		return nil, err
	}
	var answer peerpb.Answer
	if _, err := receive(rw, typeAnswer, &answer); err != nil {
		return nil, err
	}
	theirs := &peerpb.Hello{}
	if err := proto.Unmarshal(answer.GetHello(), theirs); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotPeer, err)
	}
	if !hmac.Equal(answer.GetProof(), prove(s.Token, roleAccept, sent, answer.GetHello())) {
		// So that the other side's log says it as well.
		_, _ = writeFrame(rw, typeVerdict, &peerpb.Verdict{Code: peerpb.Verdict_TOKEN})
		return nil, ErrToken
	}
	proof := &peerpb.Proof{Proof: prove(s.Token, roleDial, sent, answer.GetHello())}
	if _, err := writeFrame(rw, typeProof, proof); err != nil {
		return nil, err
	}
	kindOf, body, err := readFrame(rw)
	if err != nil {
		return nil, err
	}
	if kindOf != typeVerdict {
		return nil, fmt.Errorf("%w: frame of type %d, want %d", ErrNotPeer, kindOf, typeVerdict)
	}
	s.met(theirs)
	return theirs, verdictError(body)
}

// answer is the acceptor's side. An error is a reason to close the connection.
func (s *Self) answer(rw io.ReadWriter) (*peerpb.Hello, error) {
	theirs := &peerpb.Hello{}
	received, err := receive(rw, typeHello, theirs)
	if err != nil {
		if errors.Is(err, ErrProtocol) { // the header of any frame tells the other side our version
			_, _ = writeFrame(rw, typeVerdict, &peerpb.Verdict{})
		}
		return nil, err
	}
	sent, err := proto.Marshal(s.hello())
	if err != nil {
		return nil, fmt.Errorf("encode handshake: %w", err)
	}
	if _, err := writeFrame(rw, typeAnswer, &peerpb.Answer{Hello: sent, Proof: prove(s.Token, roleAccept, received, sent)}); err != nil {
		return nil, err
	}
	var proof peerpb.Proof
	if _, err := receive(rw, typeProof, &proof); err != nil {
		return nil, err
	}
	if !hmac.Equal(proof.GetProof(), prove(s.Token, roleDial, received, sent)) {
		_, _ = writeFrame(rw, typeVerdict, &peerpb.Verdict{Code: peerpb.Verdict_TOKEN})
		return nil, ErrToken
	}
	s.met(theirs)
	refused := s.admit(theirs)
	verdict := &peerpb.Verdict{Code: peerpb.Verdict_ACCEPTED}
	if refused != nil {
		verdict.Code, verdict.Text = refused.Code, refused.Text
	}
	if _, err := writeFrame(rw, typeVerdict, verdict); err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return theirs, nil
}

// admit asks whether a peer may come in.
func (s *Self) admit(theirs *peerpb.Hello) *Refusal {
	if me, want := s.Hello().GetNodeId(), theirs.GetWantNodeId(); want != "" && want != me {
		return &Refusal{Code: peerpb.Verdict_NODE, Text: fmt.Sprintf("this is node %q, not %q", me, want)}
	}
	switch theirs.GetKind() {
	case Raft, Member, Open:
	default:
		return &Refusal{Code: peerpb.Verdict_NOT_MEMBER, Text: fmt.Sprintf("connections of kind %d are not known here", theirs.GetKind())}
	}
	err := s.Admit(theirs)
	if err == nil {
		return nil
	}
	var refused *Refusal
	if errors.As(err, &refused) {
		return refused
	}
	return &Refusal{Code: peerpb.Verdict_NOT_MEMBER, Text: err.Error()}
}

func (s *Self) met(peer *peerpb.Hello) {
	if s.Met != nil {
		s.Met(peer)
	}
}

// verdictError returns what a serialised verdict says.
func verdictError(body []byte) error {
	v := &peerpb.Verdict{}
	if err := proto.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrNotPeer, err)
	}
	switch v.GetCode() {
	case peerpb.Verdict_ACCEPTED:
		return nil
	case peerpb.Verdict_TOKEN:
		return ErrToken
	case peerpb.Verdict_CODE_UNSPECIFIED:
		return fmt.Errorf("%w: a verdict without a code", ErrNotPeer)
	}
	text := v.GetText()
	if len(text) > maxText {
		text = text[:maxText]
	}
	return &Refusal{Code: v.GetCode(), Text: text}
}
