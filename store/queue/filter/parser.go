package filter

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrInvalid is wrapped by every error of Parse.
var ErrInvalid = errors.New("invalid filter")

// Bounds of what is read, so that a request cannot make a query without end.
const (
	MaxLength = 16 << 10 // bytes
	MaxTerms  = 64
)

// SyntaxError says where a filter breaks which rule. It wraps ErrInvalid.
type SyntaxError struct {
	Pos int // byte offset, from 0
	Msg string
}

// Error returns one line with the column, from 1.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%v: column %d: %s", ErrInvalid, e.Pos+1, e.Msg)
}

// Unwrap returns ErrInvalid.
func (e *SyntaxError) Unwrap() error { return ErrInvalid }

// Parse reads a filter. An empty one (or only spaces) gives the zero Filter.
// Errors are of type *SyntaxError.
func Parse(s string) (Filter, error) {
	if len(s) > MaxLength {
		return Filter{}, syntaxError(MaxLength, "longer than %d bytes", MaxLength)
	}
	if !utf8.ValidString(s) {
		return Filter{}, syntaxError(0, "not UTF-8")
	}
	p := parser{lexer: lexer{in: s}}
	if err := p.advance(); err != nil {
		return Filter{}, err
	}
	if p.tok.kind == end {
		return Filter{}, nil
	}
	for {
		if err := p.term(); err != nil {
			return Filter{}, err
		}
		if p.tok.kind == end {
			return p.out, nil
		}
		if p.tok.kind != and {
			return Filter{}, syntaxError(p.tok.pos, "want & or the end, not %s", p.tok.describe())
		}
		if err := p.advance(); err != nil {
			return Filter{}, err
		}
	}
}

// parser reads by recursive descent with one token of look-ahead.
type parser struct {
	lexer lexer
	tok   token
	out   Filter
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lexer.next()
	return err
}

// take returns the current token if it is one of kinds, and goes on.
func (p *parser) take(what string, kinds ...tokenKind) (token, error) {
	t := p.tok
	for _, k := range kinds {
		if t.kind == k {
			return t, p.advance()
		}
	}
	return token{}, syntaxError(t.pos, "want %s, not %s", what, t.describe())
}

// term reads key op value.
func (p *parser) term() error {
	key, err := p.take("a key", word)
	if err != nil {
		return err
	}
	op, err := p.take("one of = != < <= > >=", operator)
	if err != nil {
		return err
	}
	value, err := p.take("a value", word, quoted)
	if err != nil {
		return err
	}
	if len(p.out.Terms)+len(p.out.Order) == MaxTerms {
		return syntaxError(key.pos, "more than %d terms", MaxTerms)
	}
	if key.text == sortOrder {
		return p.sort(op, value)
	}
	read, ok := readers[Key(key.text)]
	if !ok {
		return syntaxError(key.pos, "unknown key %q (known: %s)", clip(key.text), knownKeys())
	}
	t := Term{Key: Key(key.text), Op: op.op}
	if msg := read(&t, value.text); msg != "" {
		return syntaxError(value.pos, "%q is no value for %s: %s", clip(value.text), key.text, msg)
	}
	p.out.Terms = append(p.out.Terms, t)
	return nil
}

func syntaxError(pos int, format string, args ...any) error {
	return &SyntaxError{Pos: pos, Msg: fmt.Sprintf(format, args...)}
}

// clip shortens what a client sent before it goes into a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
