package testlib

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Zone is a zone that Unbound knows.
type Zone struct {
	Name   string              // without a final dot
	Text   string              // records without SOA and NS, names relative
	Signed bool                // with keys made here, which Unbound trusts
	Spoil  func(string) string // changes the signed text, so that signatures do not fit any more
}

// NewUnbound starts a real validating resolver that knows these zones and
// nothing else, and asks nobody. The test is skipped where it is not installed.
func NewUnbound(t testing.TB, zones ...Zone) netip.AddrPort {
	t.Helper()
	for _, program := range []string{"unbound", "ldns-keygen", "ldns-signzone"} {
		if program, err := find(program); err != nil {
			Absent(t, "no "+program+" here")
		}
	}
	dir := t.TempDir()
	at := FreePort(t)
	conf := fmt.Sprintf(`server:
 interface: 127.0.0.1@%d
 port: %d
 do-daemonize: no
 chroot: ""
 username: ""
 directory: %q
 pidfile: ""
 use-syslog: no
 verbosity: 1
 num-threads: 1
 access-control: 127.0.0.0/8 allow
 module-config: "validator iterator"
 target-fetch-policy: "0 0 0 0 0"
 do-not-query-localhost: no
`, at.Port(), at.Port(), dir)
	for _, z := range zones {
		file, key := z.write(t, dir)
		if key != "" {
			conf = strings.Replace(conf, "server:\n", fmt.Sprintf("server:\n trust-anchor-file: %q\n", key), 1)
		}
		conf += fmt.Sprintf("auth-zone:\n name: %q\n zonefile: %q\n for-upstream: yes\n for-downstream: no\n fallback-enabled: no\n", z.Name, file)
	}
	path := filepath.Join(dir, "unbound.conf")
	write(t, path, conf)
	runUnbound(t, path)
	return at
}

// write makes the file of a zone, and gives the file of its trust anchor.
func (z Zone) write(t testing.TB, dir string) (file, anchor string) {
	t.Helper()
	file = filepath.Join(dir, z.Name+".zone")
	write(t, file, fmt.Sprintf("$ORIGIN %s.\n$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 300\n@ IN NS ns\nns IN A 127.0.0.1\n%s\n", z.Name, z.Text))
	if !z.Signed {
		return file, ""
	}
	base := strings.TrimSpace(output(t, dir, "ldns-keygen", "-a", "ECDSAP256SHA256", "-k", z.Name))
	signed := file + ".signed"
	output(t, dir, "ldns-signzone", "-f", signed, file, base)
	if z.Spoil != nil {
		b, err := os.ReadFile(signed)
		if err != nil {
			t.Fatal(err)
		}
		write(t, signed, z.Spoil(string(b)))
	}
	return signed, filepath.Join(dir, base+".key")
}

func runUnbound(t testing.TB, conf string) {
	t.Helper()
	program, _ := find("unbound")
	cmd := exec.Command(program, "-d", "-c", conf)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	r := bufio.NewReader(stderr)
	ready := false
	for !ready {
		line, err := r.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			break
		}
		ready = strings.Contains(line, "start of service")
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = r.WriteTo(&said)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("unbound said:\n%s", said.String())
		}
	})
	if !ready {
		t.Fatalf("unbound does not start:\n%s", said.String())
	}
}

// find looks for a program also where a user's PATH does not.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + program)
}

func output(t testing.TB, dir, program string, args ...string) string {
	t.Helper()
	path, err := find(program)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, stderr.String())
	}
	return string(out)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
