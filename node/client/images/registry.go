package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

// Downloads of layers.
const (
	pullsAtOnce  = 3
	pullAttempts = 3
)

// registry is a repository of a registry, with the layers that were downloaded.
type registry struct {
	puller *remote.Puller
	repo   name.Repository
	spool  *spool
	tell   func(int64)

	mu    sync.Mutex
	files map[v1.Hash]string
}

// openRegistry opens an image by its reference and downloads its layers. It logs in
// with what `docker login` or `podman login` left behind.
func (o *opening) openRegistry(ctx context.Context, text string) (*Image, error) {
	var options []name.Option
	if o.Insecure {
		options = append(options, name.Insecure)
	}
	ref, err := name.ParseReference(text, options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	puller, err := remote.NewPuller(remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("bgrid-node"))
	if err != nil {
		return nil, err
	}
	r := &registry{puller: puller, repo: ref.Context(), spool: o.spool, tell: o.Progress.read, files: map[v1.Hash]string{}}
	im, err := o.pull(ctx, r, ref)
	if err != nil {
		return nil, explainPull(ref, err)
	}
	im.Name = ref.Name()
	return im, nil
}

func (o *opening) pull(ctx context.Context, r *registry, ref name.Reference) (*Image, error) {
	top, err := r.puller.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	s := &selection{from: r, want: o.Platform}
	if err := s.consider(ctx, top.Descriptor, 0); err != nil {
		return nil, err
	}
	if len(s.found) == 0 && len(s.others) == 0 {
		return nil, fmt.Errorf("%w: it is a %s", ErrNoImage, top.MediaType)
	}
	// Of several that serve, such as variants of arm, the index has the best first.
	if err := onlyOne(min(len(s.found), 1), "", nil, o.Platform, s.others); err != nil {
		return nil, err
	}
	im, err := o.openManifest(ctx, r, s.found[0])
	if err != nil {
		return nil, err
	}
	return im, r.download(ctx, im, o.Progress)
}

// document fetches a manifest, or the configuration, which is a blob.
func (r *registry) document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if d.MediaType.IsConfig() || d.MediaType == "" {
		return r.small(ctx, d)
	}
	got, err := r.puller.Get(ctx, r.repo.Digest(d.Digest.String()))
	if err != nil {
		return nil, err
	}
	return got.Manifest, nil
}

func (r *registry) small(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	content, err := r.stream(ctx, d)
	if err != nil {
		return nil, err
	}
	defer content.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(content, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = malformed("its configuration has more than %d bytes", maxDocument)
	}
	return data, err
}

// stream opens a blob; what it brings is verified by the library.
func (r *registry) stream(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	l, err := r.puller.Layer(ctx, r.repo.Digest(d.Digest.String()))
	if err != nil {
		return nil, err
	}
	return l.Compressed()
}

// download fetches all layers, equal ones once.
func (r *registry) download(ctx context.Context, im *Image, p *Progress) error {
	p.begin("download", "layers", int64(len(im.layers)), im.stored())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pullsAtOnce)
	begun := map[string]bool{}
	for _, l := range im.layers {
		if begun[l.sum] {
			p.finish(1)
			continue
		}
		begun[l.sum] = true
		group.Go(func() error {
			if err := r.fetch(ctx, l); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			p.finish(1)
			return nil
		})
	}
	return group.Wait()
}

// fetch downloads a layer, again when the connection breaks.
func (r *registry) fetch(ctx context.Context, l *layer) error {
	hash := v1.Hash{Algorithm: "sha256", Hex: l.sum}
	for attempt := 1; ; attempt++ {
		file, err := r.fetchOnce(ctx, v1.Descriptor{Digest: hash})
		if err == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.files[hash] = file
			return nil
		}
		var refused *transport.Error
		if attempt == pullAttempts || ctx.Err() != nil || errors.As(err, &refused) {
			return err
		}
	}
}

func (r *registry) fetchOnce(ctx context.Context, d v1.Descriptor) (string, error) {
	content, err := r.stream(ctx, d)
	if err != nil {
		return "", err
	}
	defer content.Close() //nolint:errcheck // read only
	file, err := r.spool.keep(ctx, &guarded{ctx: ctx, from: content, tell: r.tell})
	if err != nil {
		return "", err
	}
	return file.Name(), file.Close()
}

func (r *registry) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return os.Open(r.files[d.Digest])
}

// explainPull says what a registry's refusal means.
func explainPull(ref name.Reference, err error) error {
	var refused *transport.Error
	if errors.As(err, &refused) {
		switch refused.StatusCode {
		case http.StatusNotFound:
			return fmt.Errorf("%w: the registry %s does not have %s", ErrNoImage, ref.Context().RegistryStr(), ref.Name())
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("%w: the registry %s says that there is no %s, or that it wants a login (`docker login %s`)",
				ErrNoImage, ref.Context().RegistryStr(), ref.Name(), ref.Context().RegistryStr())
		}
	}
	return fmt.Errorf("pull %s: %w", ref.Name(), err)
}
