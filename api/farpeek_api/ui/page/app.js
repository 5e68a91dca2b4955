document.getElementById("app").textContent = "farpeek";
