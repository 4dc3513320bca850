package testlib

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// OpenSSL is an `openssl s_server` behind a front that speaks SMTP as far as
// STARTTLS: a TLS peer that is not our code. What arrives inside TLS is kept.
type OpenSSL struct {
	Addr netip.AddrPort

	mu     sync.Mutex
	inside bytes.Buffer
	said   []string // commands in clear
}

// NewOpenSSL starts s_server with the arguments given; the test is skipped
// where there is no openssl. s_server answers nothing inside TLS.
func NewOpenSSL(t testing.TB, args ...string) *OpenSSL {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		Absent(t, "no openssl here")
	}
	cmd := exec.Command(path, append([]string{"s_server", "-accept", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe() // held open: s_server ends with its input
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &OpenSSL{}
	r := bufio.NewReader(out)
	back := accepts(r)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(lockedWriter{&o.mu, &o.inside}, r)
	}()
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	if back == "" {
		t.Fatalf("openssl does not listen: %s", stderr.String())
	}
	o.front(t, back)
	return o
}

// accepts waits for the line that names the port.
func accepts(r *bufio.Reader) string {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return ""
		}
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "ACCEPT "); ok {
			return at
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// Inside gives what s_server printed: what arrived inside TLS, with its own
// remarks about the connection around it.
func (o *OpenSSL) Inside() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.inside.String()
}

// Said gives the commands that came in clear.
func (o *OpenSSL) Said() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.said...)
}

// front accepts connections, and splices each to s_server behind STARTTLS.
func (o *OpenSSL) front(t testing.TB, back string) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Addr = ln.Addr().(*net.TCPAddr).AddrPort()
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer c.Close()
				o.serve(c, back)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
}

func (o *OpenSSL) serve(c net.Conn, back string) {
	r := bufio.NewReader(c)
	if _, err := io.WriteString(c, "220 openssl ESMTP\r\n"); err != nil {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		o.mu.Lock()
		o.said = append(o.said, line)
		o.mu.Unlock()
		switch strings.ToUpper(strings.Fields(line + " x")[0]) {
		case "EHLO":
			_, err = io.WriteString(c, "250-openssl\r\n250 STARTTLS\r\n")
		case "STARTTLS":
			if _, err = io.WriteString(c, "220 go ahead\r\n"); err == nil {
				splice(c, r, back)
			}
			return
		default:
			_, err = io.WriteString(c, "250 ok\r\n")
		}
		if err != nil {
			return
		}
	}
}

// splice joins two connections until either ends.
func splice(c net.Conn, r io.Reader, back string) {
	b, err := net.Dial("tcp", back)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(c, b)
		_ = c.Close()
	}()
	_, _ = io.Copy(b, r)
	_ = b.Close()
	<-done
}
