package chat

import (
	"cmp"
	"slices"
	"strconv"

	"switchboard/adapter/formdata"
	"switchboard/adapter/jsonpath"
	"switchboard/schemas"
)

// Files says where a message has its files.
type Files struct {
	// Kinds are the paths of files, such as photo and voice. Of a list, which has
	// one picture in several sizes, the last is taken, the largest.
	Kinds []string
	// Ref, Name, Type and Size are what a file's members are called.
	Ref, Name, Type, Size string
	// Most is the size up to which the vendor gives files away, in bytes, 0 for any;
	// TooLarge says so of larger ones.
	Most     int64
	TooLarge string
}

// read returns the files; one that comes twice under one reference counts once.
func (f Files) read(n jsonpath.Node) (all []schemas.Attachment) {
	var seen []string
	for _, kind := range f.Kinds {
		file := jsonpath.Open(n.At(kind))
		if sizes := file.List; len(sizes) > 0 {
			file = jsonpath.Open(sizes[len(sizes)-1])
		}
		ref := file.Word(f.Ref)
		if ref == "" || slices.Contains(seen, ref) {
			continue
		}
		seen = append(seen, ref)
		name, media := usual(kind)
		size, _ := strconv.ParseInt(file.Word(f.Size), 10, 64) // without one it is not known
		a := schemas.Attachment{
			Name: formdata.FileName(cmp.Or(file.Word(f.Name), name)), Type: cmp.Or(file.Word(f.Type), media), Size: max(size, 0), Ref: ref,
		}
		if f.Most > 0 && a.Size > f.Most {
			a.Ref, a.Missing = "", f.TooLarge
		}
		all = append(all, a)
	}
	return all
}

// usual is how a file of a kind is called, and of which media type it is, where
// the vendor does not say.
func usual(kind string) (name, media string) {
	switch kind {
	case "photo", "image":
		return kind + ".jpg", "image/jpeg"
	case "audio":
		return "audio.mp3", "audio/mpeg"
	case "voice":
		return "voice.ogg", "audio/ogg"
	case "video", "video_note", "animation":
		return kind + ".mp4", "video/mp4"
	}
	return kind, ""
}
