package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// AnalyserOptions say where the analyser of attachments is. URL and Client are
// required.
type AnalyserOptions struct {
	URL     string        // of the interface of docs/analysis.md
	Key     string        // it wants to see; "": none
	Kinds   []string      // of files that it is asked about; "all": any
	Size    int64         // largest file that it is given
	Timeout time.Duration // for one question
	Client  *http.Client
}

// Analyser is a client of an analyser's HTTP interface. Safe for concurrent use.
type Analyser struct{ o AnalyserOptions }

// NewAnalyser makes a client. It does not connect yet.
func NewAnalyser(o AnalyserOptions) *Analyser { return &Analyser{o: o} }

const (
	maxAnalysis = 64 << 10 // bytes of an answer
	maxThreat   = 200      // bytes of a name that is kept
)

// Wants implements pipeline.Analyser.
func (a *Analyser) Wants(kinds []string) bool {
	return slices.Contains(a.o.Kinds, "all") || slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(a.o.Kinds, k) })
}

// MaxSize implements pipeline.Analyser.
func (a *Analyser) MaxSize() int64 { return a.o.Size }

// Look implements pipeline.Analyser.
func (a *Analyser) Look(ctx context.Context, sum mail.Hash) (v mail.Analysis, known bool, err error) {
	v, status, err := a.ask(ctx, http.MethodGet, sum, "", nil)
	return v, status != http.StatusNotFound, err
}

// Submit implements pipeline.Analyser.
func (a *Analyser) Submit(ctx context.Context, sum mail.Hash, name string, content []byte) (mail.Analysis, error) {
	v, status, err := a.ask(ctx, http.MethodPost, sum, name, content)
	if status == http.StatusNotFound {
		v = unscanned("the analyser takes no files")
	}
	return v, err
}

func unscanned(why string) mail.Analysis {
	return mail.Analysis{Verdict: mail.FileUnscanned, Name: printable(why)}
}

// ask puts one question. An error is one of ctx; all else that goes wrong is no
// verdict, and never a clean one.
func (a *Analyser) ask(ctx context.Context, method string, sum mail.Hash, name string, content []byte) (mail.Analysis, int, error) {
	asked, cancel := context.WithTimeout(ctx, a.o.Timeout)
	defer cancel()
	var body io.Reader
	if method == http.MethodPost {
		body = bytes.NewReader(content)
	}
	req, err := http.NewRequestWithContext(asked, method, strings.TrimSuffix(a.o.URL, "/")+"/v1/files/"+sum.String(), body)
	if err != nil {
		return unscanned("the address of the analyser: " + err.Error()), 0, nil
	}
	req.Header.Set("Accept", "application/json")
	if a.o.Key != "" {
		req.Header.Set("Authorization", "Bearer "+a.o.Key)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/octet-stream")
		if name != "" {
			req.Header.Set("X-File-Name", mime.QEncoding.Encode("utf-8", printableUTF8(clipped(name))))
		}
	}
	resp, err := a.o.Client.Do(req)
	if ctx.Err() != nil {
		if err == nil {
			resp.Body.Close()
		}
		return mail.Analysis{}, 0, errs.Wrap(errs.Temporary, ctx.Err(), "asking the analyser")
	}
	if err != nil {
		return unscanned("the analyser does not answer: " + errs.Network(err).Error()), 0, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound && method == http.MethodGet {
		return mail.Analysis{}, resp.StatusCode, nil
	}
	return readAnalysis(resp, sum), resp.StatusCode, nil
}

func clipped(name string) string {
	if len(name) > maxThreat {
		name = strings.ToValidUTF8(name[:maxThreat], "")
	}
	return name
}

// analysed is an answer; the rest of it may be anything.
type analysed struct {
	SHA256  string `json:"sha256"`
	Verdict string `json:"verdict"`
	Name    string `json:"name"`
}

// readAnalysis understands an answer: 200, or 202 for what goes on, and for the
// file that was asked about.
func readAnalysis(resp *http.Response, sum mail.Hash) mail.Analysis {
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return unscanned("the analyser answers with status " + strconv.Itoa(resp.StatusCode))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnalysis+1))
	var a analysed
	switch {
	case err != nil:
		return unscanned("the analyser's answer was cut: " + errs.Network(err).Error())
	case len(b) > maxAnalysis:
		return unscanned("the analyser's answer is too long")
	case json.Unmarshal(b, &a) != nil:
		return unscanned("the analyser's answer is not understood")
	case a.SHA256 != sum.String():
		return unscanned("the analyser answers for another file")
	}
	switch {
	case a.Verdict == "pending":
		return mail.Analysis{Verdict: mail.FilePending}
	case a.Verdict == "clean" && resp.StatusCode == http.StatusOK:
		return mail.Analysis{Verdict: mail.FileClean}
	case a.Verdict == "malicious":
		return mail.Analysis{Verdict: mail.FileMalicious, Name: printable(clipped(a.Name))}
	case a.Verdict == "unscannable":
		return mail.Analysis{Verdict: mail.FileUnscannable, Name: printable(clipped(a.Name))}
	}
	return unscanned("the analyser's verdict is not understood")
}
