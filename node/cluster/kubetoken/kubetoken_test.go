package kubetoken

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// apiServer answers one attempt after the other with these codes, then with the last
// of them, and keeps what it was sent.
type apiServer struct {
	codes  []int
	got    []string // method, path and bearer of each request
	secret map[string]any
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code := s.codes[min(len(s.got), len(s.codes)-1)]
	s.got = append(s.got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	body, _ := io.ReadAll(r.Body)
	s.secret = nil
	_ = json.Unmarshal(body, &s.secret)
	if code == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"kind": "Status", "message": "code %d it is"}`, code)
}

// serve starts an API server with TLS and the files of a service account for it.
func serve(t *testing.T, codes ...int) (*apiServer, *API) {
	t.Helper()
	s := &apiServer{codes: codes}
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)
	a := &API{Server: server.URL, Account: t.TempDir(), Pause: time.Millisecond}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, content := range map[string]string{"token": "bearer\n", "namespace": "grid", "ca.crt": string(ca)} {
		if err := os.WriteFile(filepath.Join(a.Account, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s, a
}

func TestOneRequestMakesTheSecret(t *testing.T) {
	s, a := serve(t, http.StatusCreated)
	created, err := a.Create(t.Context(), "bgrid-token", "abc")
	if err != nil || !created {
		t.Fatalf("have %t, %v", created, err)
	}
	if d := cmp.Diff([]string{"POST /api/v1/namespaces/grid/secrets Bearer bearer"}, s.got); d != "" {
		t.Error(d)
	}
	want := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
		"metadata": map[string]any{"name": "bgrid-token", "labels": map[string]any{"app.kubernetes.io/name": "bgrid-node", "app.kubernetes.io/part-of": "bgrid"}},
		"data":     map[string]any{"token": "YWJj"},
	}
	if d := cmp.Diff(want, s.secret); d != "" {
		t.Error(d)
	}
}

func TestASecretThatExistsIsLeftAlone(t *testing.T) {
	s, a := serve(t, http.StatusConflict)
	created, err := a.Create(t.Context(), "bgrid-token", "abc")
	if err != nil || created {
		t.Fatalf("have %t, %v", created, err)
	}
	if len(s.got) != 1 {
		t.Errorf("%d requests, want 1: nothing may follow that could change it", len(s.got))
	}
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	s, a := serve(t, http.StatusForbidden, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusCreated)
	created, err := a.Create(t.Context(), "bgrid-token", "abc")
	if err != nil || !created || len(s.got) != 5 {
		t.Fatalf("have %t, %v after %d requests", created, err, len(s.got))
	}
}

func TestWhatCannotPassIsSaidAtOnce(t *testing.T) {
	for _, code := range []int{http.StatusUnprocessableEntity, http.StatusNotFound, http.StatusFound, http.StatusOK} {
		s, a := serve(t, code)
		_, err := a.Create(t.Context(), "bgrid-token", "abc")
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("code %d it is", code)) || len(s.got) != 1 {
			t.Errorf("%d: %v after %d requests", code, err, len(s.got))
		}
	}
}

func TestTheEndOfTheContextTellsTheLastAnswer(t *testing.T) {
	_, a := serve(t, http.StatusForbidden)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := a.Create(ctx, "bgrid-token", "abc")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("have %v", err)
	}
}

// The credential of the service account goes to the cluster's API server and to
// nobody who only has its address.
func TestAServerOfAnotherAuthorityIsNotTrusted(t *testing.T) {
	s, a := serve(t, http.StatusCreated)
	_, wrong := serve(t, http.StatusCreated)
	notPEM := filepath.Join(wrong.Account, "ca.crt")
	if err := os.WriteFile(notPEM, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Create(t.Context(), "bgrid-token", "abc"); err == nil {
		t.Error("a file without a certificate is taken")
	}
	self := selfSigned(t)
	if err := os.WriteFile(filepath.Join(a.Account, "ca.crt"), self, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Create(t.Context(), "bgrid-token", "abc"); err == nil || len(s.got) != 0 {
		t.Errorf("have %v after %d requests", err, len(s.got))
	}
}

// selfSigned returns the certificate of an authority that no server has.
func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func TestTokensAreLongAndDiffer(t *testing.T) {
	a, b := NewToken(), NewToken()
	if len(a) != 64 || a == b {
		t.Errorf("have %q and %q", a, b)
	}
}

func TestOutsideOfAPodThereIsNoServer(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := InCluster(); !errors.Is(err, ErrNotInCluster) {
		t.Errorf("have %v", err)
	}
}
