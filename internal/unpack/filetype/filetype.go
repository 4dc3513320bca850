// Package filetype says what a file is by its first bytes, never by its name.
//
// It compares a few bytes with a table and allocates nothing: it may look at
// hostile bytes in the main process. It opens nothing: what kind of document a
// ZIP file is, the worker finds out.
package filetype

import (
	"bytes"
	"unicode/utf8"
)

// Len is how many bytes are enough for every signature, that of ISO 9660 the farthest.
const Len = 33 << 10

// Group is the class of a type, as administrators name it in filters.
type Group string

// The groups.
const (
	Executable Group = "executable"
	Compressed Group = "compressed"
	Document   Group = "document"
	Image      Group = "image"
	Media      Group = "media"
	Text       Group = "text"
	Other      Group = "other"
)

// Type is what a file is.
type Type struct {
	Name  string // short, in lower case, as in a file's extension: "zip", "exe"
	Group Group
}

// Types that others ask for by name.
var (
	Unknown = Type{"unknown", Other}
	Empty   = Type{"empty", Other}
	Plain   = Type{"text", Text}
	HTML    = Type{"html", Text}
	Mail    = Type{"mail", Document}
)

// signature is bytes at a place.
type signature struct {
	at    int
	bytes string
	Type
}

// signatures is in the order of looking: the longer ones of a kind first.
var signatures = [...]signature{
	{0, "PK\x03\x04", Type{"zip", Compressed}},
	{0, "PK\x05\x06", Type{"zip", Compressed}}, // empty
	{0, "PK\x07\x08", Type{"zip", Compressed}}, // the mark of a split archive
	{0, "PK00PK\x03\x04", Type{"zip", Compressed}},
	{0, "7z\xbc\xaf\x27\x1c", Type{"7z", Compressed}},
	{0, "Rar!\x1a\x07", Type{"rar", Compressed}},
	{0, "RE\x7e\x5e", Type{"rar1", Compressed}},
	{0, "\x1f\x8b", Type{"gz", Compressed}},
	{0, "BZh", Type{"bz2", Compressed}},
	{0, "\xfd7zXZ\x00", Type{"xz", Compressed}},
	{0, "\x28\xb5\x2f\xfd", Type{"zst", Compressed}},
	{257, "ustar", Type{"tar", Compressed}},
	{0, "MSCF\x00\x00\x00\x00", Type{"cab", Compressed}},
	{0, "ISc(", Type{"cab", Compressed}},
	{0, "\x60\xea", Type{"arj", Compressed}},
	{7, "**ACE**", Type{"ace", Compressed}},
	{2, "-lh", Type{"lzh", Compressed}},
	{2, "-lz", Type{"lzh", Compressed}},
	{0, "\x1f\x9d", Type{"z", Compressed}},
	{0, "\x1f\xa0", Type{"z", Compressed}},
	{0, "\x04\x22\x4d\x18", Type{"lz4", Compressed}},
	{0, "LZIP", Type{"lz", Compressed}},
	{0, "xar!", Type{"xar", Compressed}},
	{0, "MSWIM\x00\x00\x00", Type{"wim", Compressed}},
	{0, "vhdxfile", Type{"vhdx", Compressed}},
	{0, "conectix", Type{"vhd", Compressed}},
	{0, "KDMV", Type{"vmdk", Compressed}},
	{0, "hsqs", Type{"squashfs", Compressed}},
	{0, "zPQ", Type{"zpaq", Compressed}},
	{0, "ZOO ", Type{"zoo", Compressed}},
	{0, "070701", Type{"cpio", Compressed}},
	{0, "070702", Type{"cpio", Compressed}},
	{0, "070707", Type{"cpio", Compressed}},
	{0, "\xc7\x71", Type{"cpio", Compressed}},
	{0, "\x71\xc7", Type{"cpio", Compressed}},
	{0, "!<arch>\n", Type{"ar", Compressed}},
	{0, "\xed\xab\xee\xdb", Type{"rpm", Compressed}},
	{0x8001, "CD001", Type{"iso", Compressed}},
	{0x8001, "BEA01", Type{"udf", Compressed}},
	{0x8001, "NSR0", Type{"udf", Compressed}},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Type{"ole", Document}},
	{0, "{\\rt", Type{"rtf", Document}},
	{0, "\x78\x9f\x3e\x22", Type{"tnef", Document}},
	{0, "ITSF", Type{"chm", Document}},
	{0, "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", Type{"one", Document}},
	{0, "%!PS", Type{"ps", Document}},
	{0, "\xc5\xd0\xd3\xc6", Type{"ps", Document}},
	{4, "Standard Jet DB", Type{"mdb", Document}},
	{4, "Standard ACE DB", Type{"accdb", Document}},
	{0, "?_\x03\x00", Type{"hlp", Document}},
	{0, "!BDN", Type{"pst", Document}},
	{0, "AT&TFORM", Type{"djvu", Document}},
	{0, "MZ", Type{"exe", Executable}},
	{0, "\x7fELF", Type{"elf", Executable}},
	{0, "\xfe\xed\xfa\xce", Type{"macho", Executable}},
	{0, "\xfe\xed\xfa\xcf", Type{"macho", Executable}},
	{0, "\xce\xfa\xed\xfe", Type{"macho", Executable}},
	{0, "\xcf\xfa\xed\xfe", Type{"macho", Executable}},
	{0, "\xca\xfe\xba\xbe", Type{"class", Executable}}, // or a fat Mach-O
	{0, "L\x00\x00\x00\x01\x14\x02\x00", Type{"lnk", Executable}},
	{0, "\x00asm", Type{"wasm", Executable}},
	{0, "dex\n", Type{"dex", Executable}},
	{0, "#!", Type{"script", Executable}},
	{0, "\x89PNG\r\n\x1a\n", Type{"png", Image}},
	{0, "\xff\xd8\xff", Type{"jpeg", Image}},
	{0, "GIF8", Type{"gif", Image}},
	{0, "II*\x00", Type{"tiff", Image}},
	{0, "MM\x00*", Type{"tiff", Image}},
	{0, "8BPS", Type{"psd", Image}},
	{0, "\x00\x00\x01\x00", Type{"ico", Image}},
	{0, "\xd7\xcd\xc6\x9a", Type{"wmf", Image}},
	{40, " EMF", Type{"emf", Image}},
	{8, "WEBP", Type{"webp", Image}},
	{4, "ftypheic", Type{"heic", Image}},
	{4, "ftypavif", Type{"avif", Image}},
	{0, "ID3", Type{"mp3", Media}},
	{0, "OggS", Type{"ogg", Media}},
	{0, "fLaC", Type{"flac", Media}},
	{0, "RIFF", Type{"riff", Media}},
	{0, "FORM", Type{"iff", Media}},
	{0, "MThd", Type{"midi", Media}},
	{0, "\x1a\x45\xdf\xa3", Type{"mkv", Media}},
	{0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11", Type{"asf", Media}},
	{0, "FLV\x01", Type{"flv", Media}},
	{0, "FWS", Type{"swf", Media}},
	{0, "CWS", Type{"swf", Media}},
	{0, "ZWS", Type{"swf", Media}},
	{4, "ftyp", Type{"mp4", Media}},
}

// pdfSearch is how far readers look for the head of a PDF file.
const pdfSearch = 1024

// Sniff says what a file is whose first Len bytes, or all of them, are given.
func Sniff(head []byte) Type {
	if len(head) == 0 {
		return Empty
	}
	for i := range signatures {
		s := &signatures[i]
		if len(head) >= s.at+len(s.bytes) && string(head[s.at:s.at+len(s.bytes)]) == s.bytes {
			return s.Type
		}
	}
	if bytes.Contains(head[:min(len(head), pdfSearch)], []byte("%PDF-")) {
		return Type{"pdf", Document}
	}
	if len(head) > 13 && string(head[:2]) == "BM" && head[10] != 0 && head[11]|head[12]|head[13] == 0 {
		return Type{"bmp", Image}
	}
	if text, wide := isText(head); text {
		return textType(head, wide)
	}
	if oldTar(head) {
		return Type{"tar", Compressed}
	}
	return Unknown
}

// oldTar knows an archive of the time before the mark ustar by its checksum.
func oldTar(head []byte) bool {
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	want, digits := 0, 0
	for _, c := range head[148:156] {
		if c >= '0' && c <= '7' {
			want, digits = want*8+int(c-'0'), digits+1
		}
	}
	sum := 8 * int(' ')
	for i, c := range head[:512] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	return digits >= 4 && sum == want
}

// media are the media types that mail programs give to files of a type.
var media = map[string]string{
	"zip": "application/zip", "7z": "application/x-7z-compressed", "rar": "application/vnd.rar", "tar": "application/x-tar", "gz": "application/gzip",
	"bz2": "application/x-bzip2", "xz": "application/x-xz", "zst": "application/zstd", "cab": "application/vnd.ms-cab-compressed", "iso": "application/x-iso9660-image",
	"exe": "application/x-msdownload", "elf": "application/x-executable", "class": "application/java-vm", "jar": "application/java-archive",
	"pdf": "application/pdf", "rtf": "application/rtf", "ps": "application/postscript", "doc": "application/msword", "xls": "application/vnd.ms-excel",
	"ppt": "application/vnd.ms-powerpoint", "msg": "application/vnd.ms-outlook", "tnef": "application/ms-tnef", "mail": "message/rfc822",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docm": "application/vnd.ms-word.document.macroEnabled.12",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsm": "application/vnd.ms-excel.sheet.macroEnabled.12",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptm": "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
	"odt": "application/vnd.oasis.opendocument.text", "ods": "application/vnd.oasis.opendocument.spreadsheet", "odp": "application/vnd.oasis.opendocument.presentation",
	"text": "text/plain", "html": "text/html", "xml": "text/xml", "svg": "image/svg+xml", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif",
	"tiff": "image/tiff", "bmp": "image/bmp", "webp": "image/webp", "mp3": "audio/mpeg", "mp4": "video/mp4",
}

// MediaType gives the media type of what has the name of a type here: what a file
// without a header of its own would be sent as.
func MediaType(name string) string {
	if m := media[name]; m != "" {
		return m
	}
	return "application/octet-stream"
}

// isText reports whether the beginning is text of any charset; wide is UTF-16.
func isText(head []byte) (text, wide bool) {
	head = head[:min(len(head), 4096)]
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		return true, true
	}
	odd, high := 0, 0
	for _, c := range head {
		switch {
		case c == 0:
			return false, false
		case c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b && c != '\b':
			odd++
		case c >= 0x80:
			high++
		}
	}
	if odd*50 > len(head) {
		return false, false
	}
	// Text in a charset of eight bits has words between; random bytes have not.
	return high*10 < len(head)*7 || utf8.Valid(trimRune(head)), false
}

// trimRune takes away a character that the end of the head cut in two.
func trimRune(b []byte) []byte {
	for i := 1; i <= utf8.UTFMax && i <= len(b); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// textType tells HTML, XML, mail and scripts from other text.
func textType(head []byte, wide bool) Type {
	head = head[:min(len(head), 4096)]
	if wide {
		head = bytes.ReplaceAll(head[2:], []byte{0}, nil)
	}
	low := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n\f"))
	switch {
	case bytes.HasPrefix(low, []byte("<?xml")) && !bytes.Contains(low, []byte("<html")):
		if bytes.Contains(low, []byte("<svg")) {
			return Type{"svg", Image}
		}
		return Type{"xml", Text}
	case bytes.HasPrefix(low, []byte("<svg")):
		return Type{"svg", Image}
	case looksHTML(low):
		return HTML
	case looksMail(low):
		return Mail
	case bytes.HasPrefix(low, []byte("@echo off")):
		return Type{"script", Executable}
	}
	return Plain
}

func looksHTML(low []byte) bool {
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<body", "<script", "<iframe", "<table", "<div", "<meta", "<style", "<title", "<hta:"} {
		if bytes.Contains(low[:min(len(low), 1024)], []byte(tag)) {
			return true
		}
	}
	return false
}

// looksMail asks for two fields of mail in the first lines, each at the start of its line.
func looksMail(low []byte) bool {
	found := 0
	for line := range bytes.Lines(low) {
		colon := bytes.IndexByte(line, ':')
		switch {
		case line[0] == ' ' || line[0] == '\t':
			continue
		case bytes.HasPrefix(line, []byte("from ")) && found == 0:
			continue // the first line of a mailbox
		case colon <= 0 || bytes.IndexByte(line[:colon], ' ') >= 0:
			return found > 1
		}
		switch string(line[:colon]) {
		case "received", "from", "to", "date", "subject", "message-id", "mime-version", "content-type", "return-path", "delivered-to",
			"content-transfer-encoding", "reply-to", "sender", "dkim-signature", "authentication-results":
			if found++; found > 1 {
				return true
			}
		}
	}
	return found > 1
}
