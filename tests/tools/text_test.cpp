#include "miniinfer/text.hpp"

#include <doctest/doctest.h>

#include <string>

namespace {

using miniinfer::printable;

TEST_SUITE("tools.text") {
  TEST_CASE("text that a terminal shows stays as it is") {
    for (const char* text : {"", "conv1/weight:0", "größe", "重み", "🙂", " a  b "}) {
      CHECK(printable(text) == text);
    }
  }

  TEST_CASE("control characters are escaped, of one byte and of two") {
    CHECK(printable("\x1b[31m\r\n\t\x7f") == "\\x1b[31m\\x0d\\x0a\\x09\\x7f");
    CHECK(printable(std::string("a\0b", 3)) == "a\\x00b");
    CHECK(printable("\xc2\x9b"
                    "2J") == "\\xc2\\x9b2J");
    CHECK(printable("\xc2\xa0") == "\xc2\xa0");
  }

  TEST_CASE("marks that reorder a line are escaped") {
    for (const char* text : {"\u202e", "\u202a", "\u2066", "\u2069", "\u2028", "\u2029"}) {
      CHECK(printable(text).front() == '\\');
    }
    CHECK(printable("\u2027\u2030\u2065") == "\u2027\u2030\u2065");
  }

  TEST_CASE("what is no UTF-8 is escaped byte by byte") {
    CHECK(printable("\xff") == "\\xff");
    CHECK(printable("\xc3(") == "\\xc3(");
    CHECK(printable("\xe2\x82") == "\\xe2\\x82");
    CHECK(printable("\xc0\x80") == "\\xc0\\x80");
    CHECK(printable("\xe0\x80\x80") == "\\xe0\\x80\\x80");
    CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");
    CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
  }

  TEST_CASE("no more comes out than was asked for, and no character is cut") {
    CHECK(printable(std::string(100, 'a'), 10) == std::string(10, 'a') + "..");
    CHECK(printable("aaaé", 4) == "aaa..");
    CHECK(printable("aaa\n", 4) == "aaa..");
    CHECK(printable("aaaa", 4) == "aaaa");
  }
}

}  // namespace
