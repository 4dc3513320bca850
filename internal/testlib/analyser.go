package testlib

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Analyser is a reference analyser of attachments: the server's side of
// docs/analysis.md over HTTPS. A file is pending until Say gives its verdict.
type Analyser struct {
	URL, CAFile, Key string

	server *httptest.Server
	mu     sync.Mutex
	known  map[string]string // verdict by hash; "" is pending
	names  []string          // of files that were given to it
	status int               // of each answer, when not 0
	asked  int
}

// NewAnalyser starts one that ends with the test.
func NewAnalyser(t testing.TB) *Analyser {
	t.Helper()
	a := &Analyser{Key: "s3cret", known: map[string]string{}}
	a.server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.server.Close)
	a.URL = a.server.URL + "/api"
	a.CAFile = filepath.Join(t.TempDir(), "analyser.pem")
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw})
	if err := os.WriteFile(a.CAFile, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *Analyser) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	sum, ok := strings.CutPrefix(r.URL.Path, "/api/v1/files/")
	switch {
	case a.status != 0:
		w.WriteHeader(a.status)
		return
	case r.Header.Get("Authorization") != "Bearer "+a.Key:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case !ok:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPost {
		b, err := io.ReadAll(r.Body)
		got := sha256.Sum256(b)
		if err != nil || hex.EncodeToString(got[:]) != sum {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		if _, known := a.known[sum]; !known {
			a.known[sum] = ""
		}
		a.names = append(a.names, r.Header.Get("X-File-Name"))
	}
	verdict, known := a.known[sum]
	if !known {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	verdict, name, _ := strings.Cut(verdict, " ")
	status := http.StatusOK
	if verdict == "" {
		verdict, status = "pending", http.StatusAccepted
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"sha256": sum, "verdict": verdict, "name": name}) // who asked may be gone
}

// Say gives the verdict about a content, with the name of a threat behind a
// blank, whether it was given to the analyser or not.
func (a *Analyser) Say(content, verdict string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := sha256.Sum256([]byte(content))
	a.known[hex.EncodeToString(sum[:])] = verdict
}

// Status makes it answer with a status and nothing else; 0: as it should.
func (a *Analyser) Status(code int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = code
}

// Given gives the names of the files that it was given, and how often it was asked.
func (a *Analyser) Given() (names []string, asked int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(names, a.names...), a.asked
}
