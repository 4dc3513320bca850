package pipeline_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/filter"
	"lazaret/internal/pipeline"
	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack"
)

// hostileNames gives n names that somebody would like to see used as a file's,
// in a shell, in a header or on a screen. They lead to dir where they can.
func hostileNames(dir string, n int) []string {
	heads := []string{"", "../", "../../../../../../../../../..", "/", "//", `..\..\`, `C:\`, `C:`, `\\host\share\`, "./../", "....//", "%2e%2e%2f", "\xc0\xae\xc0\xae/", "..\x00/", "~root/", "file:///",
		"-", "--checkpoint-action=exec=", "\u202e", "\ufeff", "\U0001f4a9", "a\r\nSubject: x\r\n", "a\nb", "\x1b[2J", "`touch ", "$(touch ", "; touch ", "| touch ", "&& touch ", "%n%s", "'\"", "{{7*7}}", "=cmd|", "CON", "NUL.", "COM1:"}
	tails := []string{"", "evil", "evil.exe", "evil.exe ", "evil.exe.", "evil.exe::$DATA", "evil\x00.txt", "evil`", "evil)", strings.Repeat("a", 300), strings.Repeat("b/", 200), "fdp.exe\u202d", "evil\u2028", "\xff\xfe", "<script>", "..", "."}
	out := []string{strings.Repeat("x", 60<<10)}
	for i := 0; len(out) < n; i++ {
		h, tail := heads[i%len(heads)], tails[i/len(heads)%len(tails)]
		if i%3 == 0 {
			tail = dir + "/" + tail
		}
		out = append(out, fmt.Sprintf("%s%s%d", h, tail, i))
	}
	return out
}

// tree lists what is under a directory.
func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error { all = append(all, p); return err }); err != nil {
		t.Fatal(err)
	}
	return all
}

// Register A2: LAZARET_NAMES (500) hostile names, of attachments in two ways and of files in
// archives, make no file anywhere; they are text to match. That the worker can
// open nothing and start nothing is shown beside it (TestSEC_A1_WorkerIsShutIn).
func TestSEC_A2_Names(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	pool := unpack.NewPool(unpack.Options{Workers: 1, Dir: scratch})
	t.Cleanup(pool.Close)
	set, err := filter.Parse(`a: if (attachment-filename == "never a name") { drop(); } b: if (attachment-filename == "evil") { log-entry("$filenames"); quarantine("Policy"); }`)
	if err != nil {
		t.Fatal(err)
	}
	var log written
	p := opening(pool, pipeline.Settings{Filters: set}, &log)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	places := []string{here, target, filepath.Dir(target)}
	var before [][]string
	for _, d := range places {
		before = append(before, tree(t, d))
	}
	top, err := os.ReadDir("/")
	if err != nil {
		t.Fatal(err)
	}
	n := 500
	if s := os.Getenv("LAZARET_NAMES"); s != "" {
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	names := hostileNames(target, n)
	for chunk := range slices.Chunk(names, 250) {
		var entries []files.Entry
		var list []string
		for i, n := range chunk {
			entries = append(entries, files.Entry{Name: n, Data: []byte("MZ")})
			if len(n) > 2000 || i%5 > 0 {
				continue
			}
			quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "", "\x00", "").Replace(n)
			list = append(list, "Content-Type: application/octet-stream; name=\""+quoted+"\"\r\n\r\nMZ")
			var percent strings.Builder
			for _, c := range []byte(n) {
				fmt.Fprintf(&percent, "%%%02x", c)
			}
			list = append(list, "Content-Disposition: attachment; filename*=utf-8''"+percent.String()+"\r\n\r\nMZ")
		}
		var tarred []files.Entry // tar has no names of more than 64 KiB, nor with NUL
		for _, e := range entries {
			if len(e.Name) < 1000 && !strings.Contains(e.Name, "\x00") && e.Name != "" {
				tarred = append(tarred, e)
			}
		}
		list = append(list, attached("a.zip", files.Zip(t, entries...)), attached("a.tar", files.Tar(t, tarred...)), attached("a.rar", files.Rar(false, entries[1:]...)))
		d, err := first(p.Judge(t.Context(), (&bench{}).input(parts(list...))))
		if err != nil || d.Drop || len(d.Quarantine) != 1 || d.Quarantine[0].Reason != "message filter:b" {
			t.Fatalf("%+v %v", d, err)
		}
	}
	pool.Close()
	for i, d := range append(places, scratch) {
		want := []string{scratch}
		if i < len(before) {
			want = before[i]
		}
		if now := tree(t, d); !slices.Equal(now, want) {
			t.Errorf("in %s there is now %q", d, now)
		}
	}
	if now, err := os.ReadDir("/"); err != nil || len(now) != len(top) {
		t.Errorf("in / there is now %v, %v", now, err)
	}
	for _, l := range log {
		if strings.ContainsAny(l, "\r\n\x00\x1b") || !strings.HasPrefix(l, "Info: MID ") && !strings.HasPrefix(l, "Info: Message ") {
			t.Fatalf("a line of the log: %q", l)
		}
	}
}
