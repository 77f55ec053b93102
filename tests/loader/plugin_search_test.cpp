// Which files count, in which order, and why the others do not. No file here is a plugin: the
// search never reads one.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/loader/plugin_folder.hpp"

namespace miniinfer::testing {
namespace {

constexpr std::string_view kText = "not read";

// <folder>/prefix/lib/libminiinfer.so, and files where a test wants them.
struct World {
  Folder folder;
  PluginSearch search = world_at(folder.sub("prefix"));

  fs::path put(const std::string& place, const std::string& name) {
    folder.sub(place);
    return folder.write(place + "/libminiinfer_" + name + ".so", kText);
  }
  FoundPlugins find() const { return find_plugins(search); }
  // The paths, below the folder, that are to be loaded.
  std::vector<std::string> loads() const {
    std::vector<std::string> paths;
    for (const Candidate& candidate : find().candidates) {
      if (candidate.load) {
        paths.push_back(fs::relative(candidate.report.path, folder.path()).string());
      }
    }
    return paths;
  }
  PluginReport only() const {
    const FoundPlugins found = find();
    REQUIRE(found.candidates.size() == 1);
    return found.candidates[0].report;
  }
};

using Paths = std::vector<std::string>;

TEST_CASE("A name is what stands between libminiinfer_ and .so, in small letters") {
  CHECK(plugin_name_of("/a/libminiinfer_cuda.so") == "cuda");
  CHECK(plugin_name_of("libminiinfer_a1_b.so") == "a1_b");
  for (const char* file :
       {"libminiinfer_.so", "libminiinfer.so", "libminiinfer_A.so", "libminiinfer_1a.so",
        "libminiinfer_a.so.1", "miniinfer_a.so", "libminiinfer_a-b.so", "libodd_plain.so"}) {
    CAPTURE(file);
    CHECK(plugin_name_of(file).empty());
  }
}

TEST_CASE("Folders beside the core are searched in order, files by name") {
  World world;
  world.put("prefix/lib/miniinfer/plugins", "b");
  world.put("prefix/lib/plugins", "d");
  world.put("prefix/lib/plugins", "c");
  CHECK(world.loads() == Paths{"prefix/lib/plugins/libminiinfer_c.so",
                               "prefix/lib/plugins/libminiinfer_d.so",
                               "prefix/lib/miniinfer/plugins/libminiinfer_b.so"});
  for (const Candidate& candidate : world.find().candidates) CHECK_FALSE(candidate.isolate);
}

TEST_CASE("A core in a program's folder finds the installed folder through libdir") {
  World world;
  world.search.libdir = "lib/some-machine";
  world.folder.sub("prefix/bin");
  world.search.core_file = world.folder.write("prefix/bin/app", kText);
  world.put("prefix/lib/some-machine/miniinfer/plugins", "a");
  CHECK(world.loads() == Paths{"prefix/lib/some-machine/miniinfer/plugins/libminiinfer_a.so"});
}

TEST_CASE("MINIINFER_PLUGIN_PATH replaces the usual folders") {
  World world;
  world.put("prefix/lib/plugins", "a");
  world.put("mine", "b");
  world.search.plugin_path = (world.folder.path() / "mine").string();
  CHECK(world.loads() == Paths{"mine/libminiinfer_b.so"});
  CHECK(world.find().candidates[0].isolate);
  CHECK(world.only().found_via == "MINIINFER_PLUGIN_PATH");
}

TEST_CASE("An empty element of MINIINFER_PLUGIN_PATH stands for the usual folders") {
  World world;
  world.put("prefix/lib/plugins", "a");
  world.put("mine", "b");
  const std::string mine = (world.folder.path() / "mine").string();
  world.search.plugin_path = mine + ":";
  CHECK(world.loads() == Paths{"mine/libminiinfer_b.so", "prefix/lib/plugins/libminiinfer_a.so"});
  world.search.plugin_path = ":" + mine;
  CHECK(world.loads() == Paths{"prefix/lib/plugins/libminiinfer_a.so", "mine/libminiinfer_b.so"});
  world.search.plugin_path = "";
  CHECK(world.loads() == Paths{"prefix/lib/plugins/libminiinfer_a.so"});
}

TEST_CASE("A relative element is passed over, and the list of places says so") {
  World world;
  world.search.plugin_path = ".";
  const FoundPlugins found = world.find();
  CHECK(found.candidates.empty());
  REQUIRE(found.searched.size() == 1);
  CHECK(found.searched[0].find("not absolute") != std::string::npos);
}

TEST_CASE("The current folder is never searched") {
  World world;
  const fs::path before = fs::current_path();
  world.put("here", "a");
  fs::current_path(world.folder.path() / "here");
  const FoundPlugins found = world.find();
  fs::current_path(before);
  CHECK(found.candidates.empty());
}

TEST_CASE("With raised privileges the environment says nothing") {
  World world;
  world.put("mine", "b");
  world.put("prefix/lib/plugins", "a");
  world.search.plugin_path = (world.folder.path() / "mine").string();
  world.search.filter = "none";
  world.search.privileged = true;
  CHECK(world.loads() == Paths{"prefix/lib/plugins/libminiinfer_a.so"});
}

TEST_CASE("Explicit places may be files and folders, and a missing one is reported") {
  World world;
  const fs::path a = world.put("one", "a");
  world.put("two", "b");
  world.search.explicit_places = {a, world.folder.path() / "two", world.folder.path() / "three"};
  CHECK(world.loads() == Paths{"one/libminiinfer_a.so", "two/libminiinfer_b.so"});
  const Candidate missing = world.find().candidates.back();
  CHECK_FALSE(missing.load);
  CHECK(missing.report.code == Code::NotFound);
}

TEST_CASE("Explicit places come first and the usual search follows") {
  World world;
  const fs::path mine = world.put("mine", "b");
  world.put("prefix/lib/plugins", "a");
  world.put("prefix/lib/plugins", "b");
  world.search.explicit_places = {mine};
  CHECK(world.loads() == Paths{"mine/libminiinfer_b.so", "prefix/lib/plugins/libminiinfer_a.so"});
  CHECK(world.find().candidates.back().report.state == PluginState::Shadowed);
  world.put("listed", "a");
  world.put("listed", "c");
  world.search.plugin_path = (world.folder.path() / "listed").string();
  CHECK(world.loads() ==
        Paths{"mine/libminiinfer_b.so", "listed/libminiinfer_a.so", "listed/libminiinfer_c.so"});
}

TEST_CASE("MINIINFER_PLUGIN_PATH counts in its order, and a folder it names in vain is listed") {
  World world;
  world.put("one", "a");
  world.put("two", "a");
  world.put("two", "b");
  const std::string root = world.folder.path().string();
  world.search.plugin_path = root + "/none:" + root + "/two:" + root + "/one";
  CHECK(world.loads() == Paths{"two/libminiinfer_a.so", "two/libminiinfer_b.so"});
  const FoundPlugins found = world.find();
  REQUIRE(found.searched.size() == 3);
  CHECK(found.searched[0].find("No such file") != std::string::npos);
  CHECK(found.candidates.back().report.state == PluginState::Shadowed);
}

TEST_CASE("A plugin of the installed folder needs no helper, named explicitly or not") {
  World world;
  const fs::path installed = world.put("prefix/lib/plugins", "a");
  const fs::path mine = world.put("mine", "b");
  world.search.explicit_places = {installed, mine};
  const FoundPlugins found = world.find();
  REQUIRE(found.candidates.size() == 3);
  CHECK_FALSE(found.candidates[0].isolate);
  CHECK(found.candidates[1].isolate);
}

TEST_CASE("An explicit place is no excuse for a file that everybody can write") {
  World world;
  const fs::path file = world.put("mine", "a");
  chmod(file.c_str(), 0666);
  world.search.explicit_places = {file};
  CHECK(world.only().code == Code::FailedPrecondition);
}

TEST_CASE("A folder in which nobody can replace another's file may be open to everybody") {
  World world;
  const fs::path file = world.put("mine", "a");
  chmod(file.parent_path().c_str(), 01777);
  world.search.explicit_places = {file};
  CHECK(world.loads().size() == 1);
}

TEST_CASE("The folder of a bare name is not guessed, and a link is trusted by where it leads") {
  World world;
  world.search.explicit_places = {"libminiinfer_nowhere.so"};
  CHECK(world.only().code == Code::NotFound);
  const fs::path file = world.put("open", "a");
  chmod(file.parent_path().c_str(), 0777);
  fs::create_symlink(file, world.folder.sub("mine") / "libminiinfer_a.so");
  world.search.explicit_places = {world.folder.path() / "mine" / "libminiinfer_a.so"};
  CHECK(world.only().code == Code::FailedPrecondition);
}

TEST_CASE("MINIINFER_PLUGINS holds for explicit places too") {
  World world;
  world.search.explicit_places = {world.put("mine", "a"), world.put("mine", "b")};
  world.search.filter = "b";
  CHECK(world.loads() == Paths{"mine/libminiinfer_b.so"});
}

TEST_CASE("The first file of a name wins and the others are shadowed") {
  World world;
  world.put("prefix/lib/plugins", "a");
  world.put("prefix/lib/miniinfer/plugins", "a");
  CHECK(world.loads() == Paths{"prefix/lib/plugins/libminiinfer_a.so"});
  const FoundPlugins found = world.find();
  REQUIRE(found.candidates.size() == 2);
  CHECK(found.candidates[1].report.state == PluginState::Shadowed);
  CHECK_FALSE(found.candidates[1].report.reason.empty());
}

TEST_CASE("A refused file does not shadow a good one") {
  World world;
  chmod(world.put("prefix/lib/plugins", "a").c_str(), 0646);
  world.put("prefix/lib/miniinfer/plugins", "a");
  CHECK(world.loads() == Paths{"prefix/lib/miniinfer/plugins/libminiinfer_a.so"});
}

TEST_CASE("One file counts once, whatever it is called and wherever it is found") {
  World world;
  const fs::path file = world.put("prefix/lib/plugins", "m");
  fs::create_symlink(file, world.folder.path() / "prefix/lib/plugins/libminiinfer_a.so");
  fs::create_hard_link(file, world.folder.path() / "prefix/lib/plugins/libminiinfer_z.so");
  world.search.explicit_places = {file, world.folder.path() / "prefix/lib/plugins"};
  const FoundPlugins found = world.find();
  CHECK(std::count_if(found.candidates.begin(), found.candidates.end(),
                      [](const Candidate& c) { return c.load; }) == 1);
}

TEST_CASE("A link is the plugin that it leads to") {
  World world;
  const fs::path file = world.put("prefix/lib/plugins", "m");
  fs::create_symlink(file, world.folder.path() / "prefix/lib/plugins/libminiinfer_a.so");
  const FoundPlugins found = world.find();
  REQUIRE(found.candidates.size() == 2);
  CHECK(found.candidates[0].load);
  CHECK(found.candidates[0].report.name == "m");
}

TEST_CASE("MINIINFER_PLUGINS leaves only the named plugins") {
  World world;
  for (const char* name : {"a", "b", "c"}) world.put("prefix/lib/plugins", name);
  world.search.filter = "c,a";
  CHECK(world.loads() ==
        Paths{"prefix/lib/plugins/libminiinfer_a.so", "prefix/lib/plugins/libminiinfer_c.so"});
  CHECK(world.find().candidates[1].report.state == PluginState::Filtered);
  world.search.filter = "none";
  CHECK(world.loads().empty());
}

TEST_CASE("A file or folder that everybody can write is refused") {
  World world;
  const fs::path file = world.put("prefix/lib/plugins", "a");
  SUBCASE("file") { chmod(file.c_str(), 0666); }
  SUBCASE("folder") { chmod(file.parent_path().c_str(), 0777); }
  const PluginReport report = world.only();
  CHECK(report.state == PluginState::Refused);
  CHECK(report.code == Code::FailedPrecondition);
  CHECK_FALSE(report.hint.empty());
  world.search.trust_all = true;
  CHECK(world.loads().size() == 1);
  CHECK(world.only().notes.size() == 1);
}

TEST_CASE("A file that its group can write is a note, and refused with raised privileges") {
  World world;
  chmod(world.put("prefix/lib/plugins", "a").c_str(), 0664);
  CHECK(world.loads().size() == 1);
  REQUIRE(world.only().notes.size() == 1);
  CHECK(world.only().notes[0].find("group-writable") != std::string::npos);
  world.search.privileged = true;
  CHECK(world.loads().empty());
}

TEST_CASE("Only root, the user and the core's owner are trusted") {
  World world;
  const fs::path file = world.put("prefix/lib/plugins", "a");
  if (geteuid() != 0 || chown(file.c_str(), 12345, 12345) != 0) {
    MESSAGE("not root: the test of owners is left out");
    return;
  }
  CHECK(world.only().state == PluginState::Refused);
  CHECK(world.only().reason.find("12345") != std::string::npos);
  REQUIRE(chown(world.search.core_file.c_str(), 12345, 12345) == 0);
  CHECK(world.loads().size() == 1);
}

TEST_CASE("What is no regular file is refused without being opened") {
  World world;
  world.folder.sub("prefix/lib/plugins");
  const fs::path file = world.folder.path() / "prefix/lib/plugins/libminiinfer_x.so";
  SUBCASE("fifo") { REQUIRE(mkfifo(file.c_str(), 0644) == 0); }
  SUBCASE("folder") { fs::create_directory(file); }
  SUBCASE("broken link") { fs::create_symlink("nowhere", file); }
  const PluginReport report = world.only();
  CHECK(report.state == PluginState::Refused);
  CHECK_FALSE(report.reason.empty());
}

}  // namespace
}  // namespace miniinfer::testing
