package cpq

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// FuzzDialogue gives anything to a CPQ server inside TLS, in each state. Each
// reply is one. The Session holds content against its metadata, and has nothing to
// hold it against, and panics, if content could come without.
func FuzzDialogue(f *testing.F) {
	head := fmt.Sprintf("XCPQ %d\r\n%s", len(depositBlock), depositBlock)
	for state := range 4 {
		for _, s := range []string{"", head, "XCPQ 5\r\nabcde", "XCPQ 65537\r\n", "XCPQ -1\r\n", "MAIL FROM:<a@b.c>\r\n", "RCPT TO:<d@e.f>\r\nDATA\r\nx\r\n.\r\n", "BDAT 5 LAST\r\none\r\n", "BDAT 2\r\nonRSET\r\n", "RSET\r\n" + head, "EHLO x\r\n", "QUIT\r\n", "NOOP\nNOOP\r\n"} {
			f.Add(byte(state), s)
		}
	}
	before := []string{"", head, "MAIL FROM:<a@b.c>\r\n", "RCPT TO:<d@e.f>\r\n"}
	server := newServer(f)
	f.Fuzz(func(t *testing.T, state byte, data string) {
		s := &manager{}
		w := newWire(t, server, s)
		var out bytes.Buffer
		read := make(chan struct{})
		go func() { defer close(read); io.Copy(&out, w.r) }()
		w.conn.SetWriteDeadline(time.Now().Add(time.Minute))
		io.WriteString(w.conn, strings.Join(before[:1+state%4], "")+data) // the server may have left: what it said counts
		w.conn.CloseWrite()
		w.conn.SetReadDeadline(time.Now().Add(time.Minute))
		<-read
		for _, line := range strings.SplitAfter(out.String(), "\r\n") {
			if text, ok := strings.CutSuffix(line, "\r\n"); line != "" && (!ok || len(text) < 4 || text[0] < '2' || text[0] > '5' || strings.Trim(text[:3], "0123456789") != "") {
				t.Fatalf("reply line %q", line)
			}
		}
	})
}
