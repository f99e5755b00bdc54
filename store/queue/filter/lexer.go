package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// tokenKind says what a token is.
type tokenKind int

const (
	end tokenKind = iota
	and
	operator
	word   // a key or a bare value: which of the two, the parser knows
	quoted // a quoted value, unescaped
)

// token is a piece of the input.
type token struct {
	kind tokenKind
	text string
	op   Op
	pos  int // byte offset in the input
}

// describe names the token in an error message.
func (t token) describe() string {
	switch t.kind {
	case end:
		return "the end"
	case quoted:
		return "a quoted value"
	default:
		return fmt.Sprintf("%q", clip(t.text))
	}
}

// lexer cuts the input into tokens.
type lexer struct {
	in  string
	pos int
}

// next returns the next token, or a *SyntaxError.
func (l *lexer) next() (token, error) {
	for l.pos < len(l.in) && isSpace(l.in[l.pos]) {
		l.pos++
	}
	start := l.pos
	if start == len(l.in) {
		return token{kind: end, pos: start}, nil
	}
	switch c := l.in[start]; {
	case c == '&':
		l.pos++
		return token{kind: and, text: "&", pos: start}, nil
	case c == '"':
		return l.quoted()
	case isWord(c):
		for l.pos < len(l.in) && isWord(l.in[l.pos]) {
			l.pos++
		}
		return token{kind: word, text: l.in[start:l.pos], pos: start}, nil
	}
	if op := l.operator(); op != 0 {
		return token{kind: operator, text: op.String(), op: op, pos: start}, nil
	}
	r, _ := utf8.DecodeRuneInString(l.in[start:])
	return token{}, syntaxError(start, "unexpected %q (a value with other characters than letters, digits and -:.+()_/ needs double quotes)", r)
}

// operator reads the longest operator, or returns 0.
func (l *lexer) operator() Op {
	rest := l.in[l.pos:]
	for _, o := range [...]Op{LessOrEqual, GreaterOrEqual, NotEqual, Equal, Less, Greater} {
		if strings.HasPrefix(rest, o.String()) {
			l.pos += len(o.String())
			return o
		}
	}
	return 0
}

// quoted reads a value in double quotes.
func (l *lexer) quoted() (token, error) {
	start := l.pos
	var b strings.Builder
	for l.pos++; l.pos < len(l.in); l.pos++ {
		switch c := l.in[l.pos]; c {
		case '"':
			l.pos++
			return token{kind: quoted, text: b.String(), pos: start}, nil
		case '\\':
			l.pos++
			if l.pos == len(l.in) || (l.in[l.pos] != '"' && l.in[l.pos] != '\\') {
				return token{}, syntaxError(l.pos-1, `a backslash in quotes goes before " or \ only`)
			}
			b.WriteByte(l.in[l.pos])
		default:
			b.WriteByte(c)
		}
	}
	return token{}, syntaxError(start, "the quotes are not closed")
}

func isSpace(c byte) bool {
	return c == ' ' || ('\t' <= c && c <= '\r')
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte("-:.+()_/", c) >= 0
}
