package kubelet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
)

// accountDir is where pods with a service account find it.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// apiServer keeps Secrets: the only thing that a pod of this project asks of it.
type apiServer struct {
	account string // a directory with the files of a service account
	server  *http.Server
	port    string

	mu      sync.Mutex
	secrets map[string]map[string][]byte // guarded by mu
}

func startAPIServer(account string) (*apiServer, error) {
	s := &apiServer{account: account, secrets: map[string]map[string][]byte{}}
	cert, authority, err := selfSigned()
	if err != nil {
		return nil, err
	}
	for name, content := range map[string]string{"token": "bearer", "namespace": "test", "ca.crt": string(authority)} {
		if err := writeFile(account, name, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(account, 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", netns.Here+":0")
	if err != nil {
		return nil, err
	}
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/namespaces/test/secrets", s.create)
	s.server = &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ReadHeaderTimeout: time.Second}
	go func() { _ = s.server.ServeTLS(l, "", "") }()
	return s, nil
}

func (s *apiServer) close() { _ = s.server.Close() }

// environment is what every container is told.
func (s *apiServer) environment() map[string]string {
	return map[string]string{"KUBERNETES_SERVICE_HOST": netns.Here, "KUBERNETES_SERVICE_PORT": s.port}
}

func (s *apiServer) create(w http.ResponseWriter, r *http.Request) {
	var object struct {
		Metadata struct{ Name string }
		Data     map[string][]byte
	}
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil || r.Header.Get("Authorization") != "Bearer bearer" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets[object.Metadata.Name] != nil {
		w.WriteHeader(http.StatusConflict)
		return
	}
	s.secrets[object.Metadata.Name] = object.Data
	w.WriteHeader(http.StatusCreated)
}

func (s *apiServer) secret(name string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secrets[name]
}

func selfSigned() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.ParseIP(netns.Here)},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), nil
}
