package certs

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func pair(t *testing.T, serial string, now time.Time) Pair {
	t.Helper()
	c, k, err := NewCPQ(serial, now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(c, k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func check(own Pair, peers ...Peer) Check {
	return Check{Own: func(func(Pin) bool) (tls.Certificate, error) { return own.TLS, nil }, Peers: func() []Peer { return peers }}
}

// shake does a handshake and one byte each way; TLS 1.3 tells a client late
// that it was refused.
func shake(server, client *tls.Config) (serverErr, clientErr error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err, err
	}
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err, err
	}
	a, err := l.Accept()
	if err != nil {
		return err, err
	}
	defer func() { _, _, _ = a.Close(), b.Close(), l.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.HandshakeContext(ctx)
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		if err != nil {
			_ = a.Close()
		}
		done <- err
	}()
	c := tls.Client(b, client)
	err = c.HandshakeContext(ctx)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err != nil {
		_ = b.Close()
	}
	return <-done, err
}

// Both ends accept exactly the pinned other one and name every other cause (register D1).
func TestSEC_D1_Pins(t *testing.T) {
	now := time.Now()
	gw, sma, other := pair(t, "GATEWAY01", now), pair(t, "MANAGER01", now), pair(t, "STRANGER1", now)
	old, future := pair(t, "GATEWAY01", now.Add(-Lifetime-48*time.Hour)), pair(t, "GATEWAY01", now.Add(48*time.Hour))
	peer := func(p Pair) Peer { return Peer{ID: "P", Name: "peer", Pins: []Pin{p.Pin()}} }
	none := func(c *tls.Config) *tls.Config {
		c = c.Clone()
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
		return c
	}
	tls12 := &tls.Config{Certificates: []tls.Certificate{sma.TLS}, MaxVersion: tls.VersionTLS12}
	for _, c := range []struct {
		name           string
		server, client *tls.Config
		onServer       string // part of the cause; "" is success
		onClient       string
	}{
		{"both pinned", check(sma, peer(gw)).Server(), check(gw, peer(sma)).Client(), "", ""},
		{"second pin during rotation", check(sma, Peer{Pins: []Pin{other.Pin(), gw.Pin()}}).Server(), check(gw, peer(sma)).Client(), "", ""},
		{"no client certificate", check(sma, peer(gw)).Server(), none(check(gw, peer(sma)).Client()), "no certificate from client", "server refused our certificate"},
		{"wrong client", check(sma, peer(gw)).Server(), check(other, peer(sma)).Client(), "certificate of client is not the pinned one", "server refused our certificate"},
		{"wrong server", check(other, peer(gw)).Server(), check(gw, peer(sma)).Client(), "", "certificate of server is not the pinned one"},
		{"expired client", check(sma, peer(old)).Server(), check(old, peer(sma)).Client(), "certificate of client: expired on", "server refused our certificate"},
		{"expired server", check(old, peer(gw)).Server(), check(gw, peer(old)).Client(), "", "certificate of server: expired on"},
		{"not yet valid", check(future, peer(gw)).Server(), check(gw, peer(future)).Client(), "", "is not valid before"},
		{"TLS 1.2 server", tls12, check(gw, peer(sma)).Client(), "", "does not speak TLS 1.3"},
		{"TLS 1.2 client", check(sma, peer(gw)).Server(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, "client does not speak TLS 1.3", ""},
		{"TLS 1.1 client", tls12, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "client does not speak TLS 1.2 or later", ""},
		{"client that distrusts", tls12, &tls.Config{ServerName: "x.example"}, "client refused our certificate (bad certificate)", ""},
		{"nobody is paired", check(sma).Server(), check(gw, peer(sma)).Client(), "not the pinned one", "server refused our certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			serverErr, clientErr := shake(c.server, c.client)
			if c.onServer == "" && c.onClient == "" {
				if serverErr != nil || clientErr != nil {
					t.Fatalf("%v, %v", serverErr, clientErr)
				}
				return
			}
			if serverErr == nil || clientErr == nil {
				t.Fatalf("went through: server %v, client %v", serverErr, clientErr)
			}
			if got := ClientCause(serverErr); !strings.Contains(got, c.onServer) {
				t.Errorf("server: %q, want %q", got, c.onServer)
			}
			if got := Cause(clientErr); !strings.Contains(got, c.onClient) {
				t.Errorf("client: %q, want %q", got, c.onClient)
			}
		})
	}
}

// Keys are readable by the owner alone and never overwritten.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	c, k, err := NewHost("mx.example.com", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := Save(cert, key, c, k); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(key); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file mode %v, %v", st.Mode(), err)
	}
	p, err := Load(cert, key)
	if err != nil || p.Leaf.VerifyHostname("mx.example.com") != nil {
		t.Errorf("%v", err)
	}
	if err := Save(cert, key, c, k); err == nil {
		t.Error("keys were overwritten")
	}
	fresh := filepath.Join(dir, "fresh.pem")
	if err := Save(cert, fresh, c, k); err == nil {
		t.Error("a certificate was overwritten")
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a key without its certificate was left")
	}
	pin, err := ParsePin(p.Pin().String())
	if err != nil || pin != p.Pin() {
		t.Errorf("pin %v %v", pin, err)
	}
	for _, s := range []string{"", "sha256/", "sha256/AAAA", "md5/" + p.Pin().String()[7:], p.Pin().String() + "="} {
		if _, err := ParsePin(s); err == nil {
			t.Errorf("pin %q accepted", s)
		}
	}
}
