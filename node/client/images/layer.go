package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// layer is one layer of an image as it is stored, most often compressed.
type layer struct {
	name string // for errors
	size int64  // bytes as stored
	open func(ctx context.Context) (io.ReadCloser, error)
	sum  string // SHA-256 of the bytes as stored; "" when it is not known
	diff string // SHA-256 of the unpacked archive; "" when sum is enough
}

// errEnough ends the reading of a layer whose rest is not needed.
var errEnough = errors.New("enough was read")

// read hands the unpacked archive to do. All of the layer is read and verified,
// unless do returns errEnough.
func (l *layer) read(ctx context.Context, limit *budget, p *Progress, do func(io.Reader) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", l.name, err)
		}
	}()
	stored, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer stored.Close() //nolint:errcheck // read only
	raw := &hashed{from: &guarded{ctx: ctx, from: stored, tell: p.read}}
	if l.sum != "" {
		raw.hash = sha256.New()
	}
	unpacked, err := decompress(raw)
	if err != nil {
		return raw.blame(err)
	}
	defer unpacked.Close() //nolint:errcheck // read only
	plain := &hashed{from: &guarded{ctx: ctx, from: &packed{unpacked, raw}, tell: limit.unpacked, check: limit.check}}
	if l.diff != "" {
		plain.hash = sha256.New()
	}
	if err := do(plain); errors.Is(err, errEnough) {
		return nil
	} else if err != nil {
		return err
	}
	for _, rest := range []*hashed{plain, raw} {
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{rest}); err != nil {
			return err
		}
	}
	if l.sum != "" && (raw.sum() != l.sum || raw.count != l.size) {
		return malformed("its content is sha256:%s (%d bytes), and not sha256:%s (%d bytes) as the image says", raw.sum(), raw.count, l.sum, l.size)
	}
	if l.diff != "" && plain.sum() != l.diff {
		return malformed("its content is sha256:%s, and not sha256:%s as the image says", plain.sum(), l.diff)
	}
	return nil
}

// hashed counts what goes through it, and hashes it when hash is set.
type hashed struct {
	from  io.Reader
	hash  hash.Hash
	count int64
	err   error // other than the end
}

func (r *hashed) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	r.count += int64(n)
	if r.hash != nil {
		_, _ = r.hash.Write(b[:n])
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// blame tells an error of unpacking what was read from one of reading it.
func (r *hashed) blame(err error) error {
	if r.err != nil || errors.Is(err, ErrMalformed) {
		return err
	}
	return malformed("unpack it: %w", err)
}

// packed is the unpacked content of from.
type packed struct {
	io.Reader
	from *hashed
}

func (p *packed) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = p.from.blame(err)
	}
	return n, err
}

func (r *hashed) sum() string { return hex.EncodeToString(r.hash.Sum(nil)) }

// guarded ends with its context, and when check, which may be nil, finds something.
type guarded struct {
	ctx   context.Context
	from  io.Reader
	tell  func(bytes int64)
	check func() error
}

func (r *guarded) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.from.Read(b)
	r.tell(int64(n))
	if r.check != nil {
		if err := r.check(); err != nil {
			return 0, err
		}
	}
	return n, err
}
