package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
)

// call runs the program with its arguments.
func call(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, env{stdin: strings.NewReader(""), stdout: &out, stderr: &err}, args)
	return code, out.String(), err.String()
}

func TestVersion(t *testing.T) {
	want := "lazaret " + appliance.Version + " ("
	for _, word := range []string{"version", "--version", "-v"} {
		if code, out, _ := call(t.Context(), word); code != 0 || !strings.HasPrefix(out, want) {
			t.Errorf("%s: %d %q", word, code, out)
		}
	}
}

// What go run made is gone at the end; only go run can be suggested again.
func TestProgram(t *testing.T) {
	for in, want := range map[string]string{"./lazaret": "./lazaret", "/tmp/go-build123/b001/exe/lazaret": "go run ."} {
		if got := program(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// checkconfig names the file and the line of the script, with the status of
// wrong data.
func TestCheckconfigNamesTheFilter(t *testing.T) {
	dir := t.TempDir()
	_, err := appliance.Init(dir, config.Gateway, appliance.InitOptions{Edit: func(c *config.Config) {
		c.Filters = "a: if (true) {\n  explode();\n}"
	}})
	if err != nil {
		t.Fatal(err)
	}
	code, _, text := call(t.Context(), "checkconfig", "--dir", dir)
	want := filepath.Join(dir, appliance.ConfigName) + ": config/message_filters: line 2 of the script, column 3: "
	if code != exitData || !strings.Contains(text, want) {
		t.Errorf("%d %q, want %q", code, text, want)
	}
}

// stopWhen ends a run when the text was written.
type stopWhen struct {
	bytes.Buffer
	text string
	stop context.CancelFunc
}

func (w *stopWhen) Write(b []byte) (int, error) {
	defer func() {
		if strings.Contains(w.String(), w.text) {
			w.stop()
		}
	}()
	return w.Buffer.Write(b)
}

// A role says on stderr when it is ready, and where.
func TestReady(t *testing.T) {
	for _, role := range []config.Role{config.Gateway, config.Manager} {
		dir, ports := t.TempDir(), free(t, 3)
		if _, err := appliance.Init(dir, role, appliance.InitOptions{SMTPPort: ports[0], SSHPort: ports[1], CPQPort: ports[2]}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		out := &stopWhen{text: "is ready", stop: cancel}
		if code := run(ctx, env{stdin: os.Stdin, stdout: &bytes.Buffer{}, stderr: out}, []string{string(role), "--dir", dir}); code != 0 {
			t.Errorf("%s: status %d", role, code)
		}
		at := func(i int) string { return "127.0.0.1:" + strconv.Itoa(ports[i]) }
		want := "lazaret " + string(role) + ": " + string(role) + ".lazaret.example is ready: SMTP " + at(0) + ", SSH " + at(1) + ", CPQ " + at(2) + "\n"
		want += "lazaret " + string(role) + ": ends with status 0: context canceled\n"
		if role == config.Manager {
			want = strings.Replace(want, "SMTP "+at(0)+", ", "", 1)
		}
		if out.String() != want {
			t.Errorf("got  %swant %s", &out.Buffer, want)
		}
	}
}

func free(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}
