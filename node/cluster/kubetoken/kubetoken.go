// Package kubetoken makes the Kubernetes Secret that holds a cluster's token, by
// one request to the API server. It needs the right to create Secrets and no other.
package kubetoken

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Key is the name of the token within the Secret, and so the name of the file in a
// volume of it.
const Key = "token"

// Account is where Kubernetes puts what a pod needs to know of its API server.
const Account = "/var/run/secrets/kubernetes.io/serviceaccount"

// ErrNotInCluster tells that the process does not run in a pod, or in one without
// a service account.
var ErrNotInCluster = errors.New("not in a Kubernetes pod with a service account")

// API is a Kubernetes API server as a pod sees it.
type API struct {
	Server  string        // such as https://10.96.0.1:443
	Account string        // a directory with the files token, ca.crt and namespace
	Pause   time.Duration // between attempts; 0: one second
}

// InCluster returns the API server of the pod that this process runs in, or
// ErrNotInCluster.
func InCluster() (*API, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if _, err := os.Stat(filepath.Join(Account, "token")); host == "" || port == "" || err != nil {
		return nil, ErrNotInCluster
	}
	return &API{Server: "https://" + net.JoinHostPort(host, port), Account: Account}, nil
}

// NewToken returns a new token for a cluster: 64 hexadecimal digits, 256 random bits.
func NewToken() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: see crypto/rand
	return hex.EncodeToString(random[:])
}

// Create makes the Secret with that name and token in the pod's namespace, and
// tells whether it did: one that is there already stays as it is, which is no error.
// While the server cannot be reached, or does not yet grant the right (objects of a
// deployment are made in any order), it tries again until ctx ends.
func (a *API) Create(ctx context.Context, name, token string) (bool, error) {
	client, err := a.client()
	if err != nil {
		return false, err
	}
	body, err := json.Marshal(secret{
		APIVersion: "v1", Kind: "Secret", Type: "Opaque", Immutable: true,
		Metadata: metadata{Name: name, Labels: map[string]string{"app.kubernetes.io/name": "bgrid-node", "app.kubernetes.io/part-of": "bgrid"}},
		Data:     map[string][]byte{Key: []byte(token)},
	})
	if err != nil {
		return false, fmt.Errorf("encode secret: %w", err)
	}
	pause := a.Pause
	if pause == 0 {
		pause = time.Second
	}
	for {
		created, again, err := a.post(ctx, client, body)
		if err == nil || !again {
			return created, err
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("%w (the last answer: %w)", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

type secret struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	Type       string            `json:"type"`
	Immutable  bool              `json:"immutable"`
	Data       map[string][]byte `json:"data"` // base64 in JSON, as Kubernetes wants it
}

type metadata struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
}

// client trusts the cluster's own authority only, and follows no redirection: it
// carries a credential.
func (a *API) client() (*http.Client, error) {
	pem, err := a.file("ca.crt")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(pem)) {
		return nil, fmt.Errorf("%s has no certificate", filepath.Join(a.Account, "ca.crt"))
	}
	return &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// post asks once; again tells that another attempt may do better.
func (a *API) post(ctx context.Context, client *http.Client, body []byte) (created, again bool, err error) {
	namespace, err := a.file("namespace")
	if err != nil {
		return false, false, err
	}
	bearer, err := a.file("token") // read each time: Kubernetes renews it
	if err != nil {
		return false, false, err
	}
	target := strings.TrimSuffix(a.Server, "/") + "/api/v1/namespaces/" + url.PathEscape(namespace) + "/secrets"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return false, false, fmt.Errorf("create secret: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		var untrusted *tls.CertificateVerificationError
		return false, !errors.As(err, &untrusted), fmt.Errorf("create secret: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusCreated:
		return true, false, nil
	case http.StatusConflict:
		return false, false, nil // it exists
	}
	err = fmt.Errorf("create secret in namespace %s: the API server says %s: %s", namespace, resp.Status, reason(resp.Body))
	return false, retried(resp.StatusCode), err
}

func retried(code int) bool {
	return code == http.StatusForbidden || code == http.StatusUnauthorized || code == http.StatusTooManyRequests || code >= 500
}

// reason returns the message of a Kubernetes Status, or the beginning of what came
// instead of one.
func reason(body io.Reader) string {
	data, _ := io.ReadAll(io.LimitReader(body, 64<<10))
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(data, &status) == nil && status.Message != "" {
		return status.Message
	}
	return strings.TrimSpace(string(data[:min(len(data), 200)]))
}

func (a *API) file(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(a.Account, name))
	if err != nil {
		return "", fmt.Errorf("read the service account: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
