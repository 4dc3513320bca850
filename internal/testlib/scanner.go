package testlib

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// EICAR is the test file that every scanner takes for a virus. It is put
// together here so that no scanner takes the program for one.
func EICAR() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-" + "TEST-FILE!$H+H*"
}

// Scanner is a real clamd with signatures of our own: it knows EICAR, as
// Lazaret.Eicar, and nothing else.
type Scanner struct {
	Socket string
	dir    string
	cmd    *exec.Cmd
}

// NewClamd starts clamd with lines added to its configuration. The test is
// skipped where it is not installed.
func NewClamd(t testing.TB, lines ...string) *Scanner {
	t.Helper()
	program, err := find("clamd")
	if err != nil {
		Absent(t, "no clamd here")
	}
	dir, err := os.MkdirTemp("", "clamd") // a path that a socket's name may have
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Scanner{Socket: filepath.Join(dir, "s"), dir: dir}
	conf := fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s\nForeground yes\nLogFile %s\nTemporaryDirectory %s\nMaxThreads 10\nAlertEncrypted yes\nAlertExceedsMax yes\nConcurrentDatabaseReload no\nSelfCheck 0\n",
		s.Socket, filepath.Join(dir, "db"), filepath.Join(dir, "log"), dir)
	for _, l := range lines {
		conf += l + "\n"
	}
	write(t, filepath.Join(dir, "clamd.conf"), conf)
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Know(t, "Lazaret.Eicar", EICAR())
	s.Start(t, program)
	return s
}

// Know adds a signature for a text; clamd reads it at its next start: Restart.
func (s *Scanner) Know(t testing.TB, name, text string) {
	t.Helper()
	sum := md5.Sum([]byte(text))
	write(t, filepath.Join(s.dir, "db", name+".hdb"), fmt.Sprintf("%x:%d:%s\n", sum, len(text), name))
	write(t, filepath.Join(s.dir, "db", name+".ndb"), fmt.Sprintf("%s.Part:0:*:%s\n", name, hex.EncodeToString([]byte(text))))
}

// Unknow takes back what Know added.
func (s *Scanner) Unknow(t testing.TB, name string) {
	t.Helper()
	for _, end := range []string{".hdb", ".ndb"} {
		if err := os.Remove(filepath.Join(s.dir, "db", name+end)); err != nil {
			t.Fatal(err)
		}
	}
}

// Restart makes clamd read its signatures anew. (Its RELOAD waits for sessions
// that are open, for half a minute.)
func (s *Scanner) Restart(t testing.TB) {
	t.Helper()
	program, err := find("clamd")
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Start(t, program)
}

// Start starts clamd, and waits until it answers.
func (s *Scanner) Start(t testing.TB, program string) {
	t.Helper()
	s.cmd = exec.Command(program, "--config-file="+filepath.Join(s.dir, "clamd.conf"))
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	waitSocket(t, "unix", s.Socket, func() string {
		b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return string(b)
	})
}

// Pause makes clamd hang, until Resume or Stop.
func (s *Scanner) Pause(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Resume makes it go on.
func (s *Scanner) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Scanner) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Stop kills clamd; the socket's name goes with it.
func (s *Scanner) Stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		_ = os.Remove(s.Socket)
		s.cmd = nil
	}
}

// waitSocket waits until something accepts connections.
func waitSocket(t testing.TB, network, address string, log func() string) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial(network, address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %v\n%s", address, err, log())
		}
	}
}

// NewRspamd starts a real Rspamd with one worker, without DNS and rules but
// those of the test: GTUBE, and LAZARET_TEST for the word "lazaret-suspect".
// It gives its URL. The test is skipped where it is not installed.
func NewRspamd(t testing.TB) string {
	t.Helper()
	program, err := find("rspamd")
	if err != nil {
		Absent(t, "no rspamd here")
	}
	dir := t.TempDir()
	at := FreePort(t)
	conf := fmt.Sprintf(`
options { pidfile = "%[1]s/pid"; filters = "regexp"; dns { nameserver = "127.0.0.1:1"; timeout = 10ms; retransmits = 1; } tempdir = "%[1]s"; history_file = ""; rrd = ""; hs_cache_dir = "%[1]s"; url_tld = "%[1]s/tld"; gtube_patterns = "all"; }
logging { type = "file"; filename = "%[1]s/log"; level = "notice"; }
worker "normal" { type = "normal"; count = 1; bind_socket = "127.0.0.1:%[2]d"; }
lang_detection { languages = "%[1]s/none"; languages_disable = []; }
actions { reject = 15; add_header = 6; greylist = 4; }
regexp { LAZARET_TEST { re = "/lazaret-suspect/P"; score = 7.0; } }
`, dir, at.Port())
	// Its own lists of suffixes and languages take it twenty seconds to compile.
	write(t, filepath.Join(dir, "tld"), "example\ncom\n")
	path := filepath.Join(dir, "rspamd.conf")
	write(t, path, conf)
	args := []string{"--no-fork", "-c", path, "--var", "DBDIR=" + dir, "--var", "RUNDIR=" + dir}
	if os.Geteuid() == 0 {
		args = append(args, "--insecure")
	}
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("rspamd said:\n%s", b)
		}
	})
	waitSocket(t, "tcp", at.String(), func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "log"))
		return string(b)
	})
	return "http://" + at.String()
}
