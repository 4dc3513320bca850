package demo

import (
	"bytes"
	"embed"
	"path"
)

//go:embed samples/*.eml
var sampleFiles embed.FS

// Sample is one message of the demonstration, as a sender out there would hand
// it to a gateway.
type Sample struct {
	Name    string   // of its file, without the ending
	Gateway int      // which gateway it is sent through, from 0
	From    string   // envelope sender; "" is the null path
	To      []string // envelope recipients
	Content []byte   // CRLF line ends
	Held    []string // the quarantines SampleFilters puts it into
	Copied  []string // the quarantines SampleFilters puts a copy into
	About   string   // what it shows, in a few words
}

// SampleFilters is a set of message filters that gives each sample its fate.
const SampleFilters = `# What the demonstration holds back. The first filter is the one to play with:
# any message with HOLDME in its subject goes to the Policy quarantine.
hold_me: if (subject == "HOLDME") {
  quarantine("Policy");
}
confidential: if (subject == "(?i)(confidential|vertraulich)") {
  log-entry("confidential by its subject");
  quarantine("Policy");
}
executables: if (attachment-filename == "(?i)[.](exe|scr|js|vbs|lnk)$") {
  quarantine("Virus");
}
pretended_pdf: if (attachment-filename == "(?i)[.]pdf[.]") {
  quarantine("Policy");
}
payment_fraud: if (body-contains("(?i)wire transfer") AND header("Reply-To") == "freemail") {
  duplicate-quarantine("Policy");
}
locked: if (attachment-protected) {
  quarantine("Policy");
}
macros: if (attachment-finding == "^macro$") {
  quarantine("Virus");
}
bulk: if (header("Precedence") == "(?i)bulk") {
  insert-header("X-Bulk", "yes");
}
`

var samples = [...]Sample{
	{Name: "minutes", Gateway: 0, From: "juergen.mueller@partner.example", To: []string{"bob@example.com", "ines@example.org"},
		About: "minutes of a call, in quoted-printable, for two domains"},
	{Name: "invoice", Gateway: 1, From: "bounces+inv=bob@office-supply.example", To: []string{"bob@example.com"},
		About: "an invoice with a PDF"},
	{Name: "newsletter", Gateway: 0, From: "vq-112-9d1c@news.valves.example", To: []string{"ines@example.org"},
		About: "a newsletter, marked as bulk by a filter"},
	{Name: "contract", Gateway: 0, From: "claire@lawyers.example", To: []string{"bob@example.com"}, Held: []string{"Policy"},
		About: "a contract held for review: release this one"},
	{Name: "lunch", Gateway: 1, From: "eve@partner.example", To: []string{"ines@example.org"}, Held: []string{"Policy"},
		About: "an invitation held for review: delete this one"},
	{Name: "tracking", Gateway: 1, From: "noreply@post-depot.example", To: []string{"bob@example.com"}, Held: []string{"Virus", "Policy"},
		About: "a false parcel notice with a program dressed as a PDF, in two quarantines"},
	{Name: "transfer", Gateway: 0, From: "helen.strand@examp1e.example", To: []string{"ines@example.org"},
		Held: []string{"Policy"}, Copied: []string{"Policy"},
		About: "the false chief executive wants money: held, and a copy beside it"},
	{Name: "payroll", Gateway: 1, From: "hr@payroll-service.example", To: []string{"bob@example.com", "ines@example.org"}, Held: []string{"Policy"},
		About: "a confidential list in German, subject and attachment name in ISO 8859-1"},
	{Name: "photos", Gateway: 1, From: "mia@holiday.example", To: []string{"ines@example.org"}, Held: []string{"Virus"},
		About: "a program in a ZIP file in a tar archive"},
	{Name: "statement", Gateway: 0, From: "service@savings-bank.example", To: []string{"bob@example.com"}, Held: []string{"Policy"},
		About: "a ZIP file that only a password opens"},
	{Name: "offer", Gateway: 1, From: "sales@pump-works.example", To: []string{"bob@example.com"}, Held: []string{"Virus"},
		About: "a document with a macro"},
	{Name: "twofaced", Gateway: 0, From: "news@mass-mailer.example", To: []string{"ines@example.org"}, Held: []string{"Policy"},
		About: "a message with two types: a letter to some programs, a letter with a file to others; no filter holds it"},
	{Name: "bounce", Gateway: 0, From: "", To: []string{"bob@example.com"},
		About: "a delivery report from the null sender"},
}

// Samples gives the messages in the order in which to send them.
func Samples() ([]Sample, error) {
	out := make([]Sample, len(samples))
	for i, s := range samples {
		raw, err := sampleFiles.ReadFile(path.Join("samples", s.Name+".eml"))
		if err != nil {
			return nil, err
		}
		// The files are kept with LF, so that they can be read and compared;
		// what is sent has CRLF.
		s.Content = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		out[i] = s
	}
	return out, nil
}
