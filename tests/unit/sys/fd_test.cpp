#include "condroid/sys/fd.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <type_traits>
#include <utility>

#include "sys_matchers.hpp"

namespace {

using condroid::Fd;
using condroid::FdView;
using condroid::test::is_open;

int fresh() { return ::eventfd(0, EFD_CLOEXEC); }

static_assert(!std::is_copy_constructible_v<Fd> && !std::is_copy_assignable_v<Fd>);
static_assert(std::is_nothrow_move_constructible_v<Fd> && std::is_nothrow_move_assignable_v<Fd>);
static_assert(!std::is_convertible_v<int, Fd> && !std::is_convertible_v<int, FdView>);
static_assert(std::is_convertible_v<const Fd&, FdView>);

}  // namespace

TEST_CASE("a descriptor is closed with its owner", "[sys]") {
  const int number = fresh();
  {
    const Fd owner(number);
    CHECK(owner.valid());
    CHECK(owner.get() == number);
    CHECK(is_open(number));
  }
  CHECK(!is_open(number));
}

TEST_CASE("moving an owner leaves nothing behind and closes nothing", "[sys]") {
  const int number = fresh();
  Fd first(number);
  Fd second(std::move(first));
  CHECK(!first.valid());  // NOLINT(bugprone-use-after-move): what is left is promised
  CHECK(second.get() == number);
  CHECK(is_open(number));

  const int other = fresh();
  Fd third(other);
  third = std::move(second);
  CHECK(third.get() == number);
  CHECK(!is_open(other));
  CHECK(is_open(number));
}

TEST_CASE("an owner that is moved to itself keeps its descriptor", "[sys]") {
  const int number = fresh();
  Fd owner(number);
  Fd& same = owner;
  owner = std::move(same);
  CHECK(owner.get() == number);
  CHECK(is_open(number));
}

TEST_CASE("a released descriptor is the caller's", "[sys]") {
  int number = -1;
  {
    Fd owner(fresh());
    number = owner.release();
    CHECK(!owner.valid());
  }
  CHECK(is_open(number));
  const Fd again(number);
}

TEST_CASE("reset closes what was held and takes the new one", "[sys]") {
  const int first = fresh();
  const int second = fresh();
  Fd owner(first);
  owner.reset(second);
  CHECK(!is_open(first));
  CHECK(owner.get() == second);
  owner.reset();
  CHECK(!is_open(second));
  CHECK(!owner);
}

TEST_CASE("a negative number is no descriptor", "[sys]") {
  const Fd failed(::open("/nothing/is/here", O_RDONLY | O_CLOEXEC));
  CHECK(!failed);
  CHECK(!FdView(failed));
  CHECK(!Fd());
  CHECK(!FdView());
}

TEST_CASE("a view borrows: it compares by number and closes nothing", "[sys]") {
  const Fd owner(fresh());
  {
    const FdView view = owner;
    CHECK(view == FdView(owner.get()));
    CHECK(view != FdView());
  }
  CHECK(is_open(owner.get()));
}
